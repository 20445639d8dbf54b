// The directory of a training run: the state to go on from, and the steps that are kept.
#pragma once

#include "base/directory_lock.hpp"
#include "model/model.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mambase::pipelines {

inline constexpr std::string_view kStateName = "train_state.safetensors";
inline constexpr std::string_view kMetricsName = "metrics.jsonl";
inline constexpr std::string_view kRecordName = "run.json";

/// The state that a run into `output` goes on from, if any. resume: "auto" (that of `output` where
/// there is one), "never", or a directory with a state. Throws Error{usage} where `output` holds a
/// run or a model that the run would not go on from.
std::optional<std::string> state_to_resume(const std::string& output, const std::string& resume);

/// The metrics that go with a state: beside it, or for a step that was kept, in its run's
/// directory. Empty where there are none.
std::string metrics_beside(const std::string& state);

class RunDirectory {
  public:
    /// Makes the directory, takes it for this process alone, and removes the unfinished files that
    /// a killed run has left. `keep`: how many steps to keep. Throws Error{io}.
    RunDirectory(std::string path, std::int64_t keep);

    const std::string& path() const noexcept { return path_; }
    std::string file(std::string_view name) const;

    /// Throws Error{io} where fewer bytes than these are free.
    void require_space(std::int64_t bytes) const;

    /// Writes the state with `write`, which is given a path. With steps to keep also the directory
    /// step-<step>, which holds that state and `model()` and appears whole; of those up to `step`
    /// the last `keep` stay. It is there before the state is, so that a run that dies in between
    /// comes by again.
    void save_step(std::int64_t step,
                   const std::function<model::Model()>& model,
                   const std::function<void(const std::string&)>& write) const;

  private:
    void remove_steps_before(std::int64_t step) const;

    std::string path_;
    std::int64_t keep_;
    std::optional<DirectoryLock> lock_;
};

}  // namespace mambase::pipelines
