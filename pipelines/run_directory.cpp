#include "pipelines/run_directory.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "model/classifier.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kModelName = "model.safetensors";
constexpr std::string_view kTemporary = ".tmp.";

void require(const std::error_code& code, std::string_view doing, const std::string& path) {
    if (code) {
        throw Error(ErrorCode::io, concat("cannot ", doing, ": ", code.message())).at(path);
    }
}

std::optional<std::int64_t> step_of(std::string_view name) {
    std::int64_t step = 0;
    if (!name.starts_with(kStepPrefix)) {
        return std::nullopt;
    }
    name.remove_prefix(kStepPrefix.size());
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), step);
    const bool whole = failure == std::errc() && end == name.data() + name.size();
    return whole ? std::optional(step) : std::nullopt;
}

/// Something of a run under its temporary name (see base/file.hpp), left by a process that died.
bool is_leftover(std::string_view name) {
    const std::size_t at = name.find(kTemporary);
    const std::string_view final_name = name.substr(0, at);
    return at != std::string_view::npos &&
           (step_of(final_name) || final_name == kStateName || final_name == kMetricsName ||
            final_name == kRecordName || final_name == kModelName || final_name == "config.json" ||
            final_name == model::kClassifierName);
}

/// Makes `path` another name of `file`, in place of what it named. False where the file system has
/// no second names.
bool name_again(const std::string& file, const std::string& path) {
    const std::string temporary = temporary_name(path);
    std::error_code code;
    fs::create_hard_link(file, temporary, code);
    if (code) {
        return false;
    }
    fs::rename(temporary, path, code);
    require(code, "rename the finished state", path);
    fs::remove(temporary, code);  // rename leaves it where both were names of one file already
    sync_directory(parent_directory(path));
    return true;
}

}  // namespace

std::optional<std::string> state_to_resume(const std::string& output, const std::string& resume) {
    const std::string own = concat(output, "/", kStateName);
    const bool has_model = exists(concat(output, "/", kModelName));
    if (resume == "auto" && exists(own)) {
        return own;
    }
    const bool elsewhere = resume != "auto" && resume != "never";
    if (elsewhere && resume == output) {
        return own;  // an error where it is missing
    }
    if (exists(own) || has_model) {
        throw Error(ErrorCode::usage,
                    "there is a model or a training run already that this run does not go on "
                    "from; give another output directory, or remove this one")
            .at(output);
    }
    return elsewhere ? std::optional(concat(resume, "/", kStateName)) : std::nullopt;
}

std::string metrics_beside(const std::string& state) {
    const std::string directory = parent_directory(state);
    for (const std::string& place : {directory, parent_directory(directory)}) {
        const std::string log = concat(place, "/", kMetricsName);
        if (exists(log)) {
            return log;
        }
        if (!step_of(fs::path(directory).filename().string())) {
            break;
        }
    }
    return {};
}

RunDirectory::RunDirectory(std::string path, std::int64_t keep)
    : path_(std::move(path)), keep_(keep) {
    make_directories(path_);
    lock_.emplace(path_);
    std::error_code code;
    std::vector<fs::path> leftovers;
    for (const fs::directory_entry& entry : fs::directory_iterator(path_, code)) {
        if (is_leftover(entry.path().filename().string())) {
            leftovers.push_back(entry.path());
        }
    }
    require(code, "read the directory", path_);
    for (const fs::path& leftover : leftovers) {
        fs::remove_all(leftover, code);
        require(code, "remove what a killed run has left", leftover.string());
    }
}

std::string RunDirectory::file(std::string_view name) const {
    return concat(path_, "/", name);
}

void RunDirectory::require_space(std::int64_t bytes) const {
    if (const std::int64_t free = free_space(path_); free < bytes) {
        throw Error(ErrorCode::io, concat("the run needs ", format_bytes(bytes), ", free are ",
                                          format_bytes(free)))
            .at(path_);
    }
}

void RunDirectory::save_step(std::int64_t step,
                             const std::function<model::Model()>& model,
                             const std::function<void(const std::string&)>& write) const {
    if (keep_ == 0) {
        write(file(kStateName));
        return;
    }
    const std::string kept = file(concat(kStepPrefix, step));
    const std::string temporary = temporary_name(kept);
    std::error_code code;
    try {
        model::save_model(temporary, model());
        write(concat(temporary, "/", kStateName));
    } catch (...) {
        fs::remove_all(temporary, code);
        throw;
    }
    fs::remove_all(kept, code);  // of an earlier pass over this step
    require(code, "replace", kept);
    fs::rename(temporary, kept, code);
    require(code, "rename the finished directory", kept);
    sync_directory(path_);
    if (!name_again(concat(kept, "/", kStateName), file(kStateName))) {
        write(file(kStateName));
    }
    remove_steps_before(step);
}

void RunDirectory::remove_steps_before(std::int64_t step) const {
    std::vector<std::int64_t> steps;
    std::error_code code;
    for (const fs::directory_entry& entry : fs::directory_iterator(path_, code)) {
        const auto kept = step_of(entry.path().filename().string());
        if (kept && *kept <= step) {
            steps.push_back(*kept);
        }
    }
    require(code, "read the directory", path_);
    std::sort(steps.begin(), steps.end(), std::greater<>());
    for (std::size_t i = static_cast<std::size_t>(keep_); i < steps.size(); ++i) {
        const std::string old = file(concat(kStepPrefix, steps[i]));
        fs::remove_all(old, code);
        require(code, "remove", old);
    }
}

}  // namespace mambase::pipelines
