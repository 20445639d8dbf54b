// One step of training: windows drawn, gradients summed over lots of lanes, one update.
#pragma once

#include "genomics_io/sample_windows.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/repeated_step.hpp"
#include "model/state_bank.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/recipe.hpp"
#include "pipelines/train_state.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mambase::pipelines {

class TrainStep {
  public:
    /// `windows` of the recipe's context; all but `recipe` have to outlive this. chunk: positions
    /// of a lane at once, at least 1; changes no result.
    TrainStep(const Recipe& recipe,
              const io::SampleWindows& windows,
              const io::Tokenizer& tokenizer,
              const model::Model& model,
              std::int64_t chunk,
              Engine& engine);

    struct Result {
        double nats = 0.0;  // weighted mean over the step's targets
        double lr = 0.0;
        double gradient_norm = 0.0;  // before clipping
    };

    /// Step 1 … recipe.steps(): a function of the state and the step alone. With state.lanes each
    /// lane goes on with the window after its last one by the recipe's chance, where there is such
    /// a window with a target that counts: from the state that it has, into which no gradient
    /// flows. Otherwise it jumps, to a fresh state. Throws Error{usage} where no window has a
    /// target of any weight.
    Result run(std::int64_t step, TrainState& state);

  private:
    struct DrawnWindow {
        io::SampledWindow window;
        bool goes_on = false;  // from its lane's last one
        double weight = 0.0;   // of its targets
    };
    /// The windows of a step.
    struct Batch {
        std::int64_t step = 0;             // 0: none yet
        double weight_sum = 0.0;           // of all targets
        std::vector<DrawnWindow> windows;  // [batch]
        std::vector<std::uint8_t> codes;   // [batch, N + 1]
    };

    void draw(std::int64_t step, const std::vector<io::SampledWindow>& last, Batch& batch);
    void draw_ahead();
    DrawnWindow draw_window(std::int64_t step, std::int64_t lane, std::span<std::uint8_t> codes);
    DrawnWindow go_on(std::int64_t step,
                      std::int64_t lane,
                      const io::SampledWindow& last,
                      std::span<std::uint8_t> codes);
    double weight_of(std::span<const std::uint8_t> codes) const;
    void move_lanes(CarriedLanes& lanes);
    double run_lanes(std::int64_t first,
                     std::int64_t count,
                     double scale,
                     model::StateBank& states);

    Recipe recipe_;
    const io::SampleWindows& windows_;
    Engine& engine_;
    std::array<float, 256> weight_of_{};  // loss weight by the target's code
    Batch batch_;                         // of this step
    Batch ahead_;                         // of the next, drawn while the device works on this one
    model::Gradients gradients_;
    model::RepeatedStep lanes_;
    std::optional<model::StateBank> states_;  // of the lanes of last time, where none are carried
};

}  // namespace mambase::pipelines
