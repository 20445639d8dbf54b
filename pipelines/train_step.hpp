// One step of training: windows drawn, gradients summed over lots of lanes, one update.
#pragma once

#include "genomics_io/sample_windows.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
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
    double draw(std::int64_t step, std::optional<CarriedLanes>& lanes);
    io::SampledWindow draw_window(std::int64_t step, std::int64_t window);
    bool carry_on(std::int64_t step, std::int64_t window, io::SampledWindow& last);
    std::span<std::uint8_t> codes_of(std::int64_t window);
    double weight_of(std::int64_t window);
    model::TrainBatch fill_lanes(std::int64_t first, std::int64_t count);

    Recipe recipe_;
    const io::SampleWindows& windows_;
    std::int64_t chunk_;
    Engine& engine_;
    std::array<float, 256> weight_of_{};  // loss weight by the target's code
    std::vector<std::uint8_t> codes_;     // [batch, N + 1]
    Tensor ids_, targets_;                // [lanes, N] u8, on the host as weight_
    Tensor weight_;                       // [lanes, N] f32
    model::Gradients gradients_;
};

}  // namespace mambase::pipelines
