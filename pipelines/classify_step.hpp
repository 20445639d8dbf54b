// One step of training a classifier: labelled windows drawn, gradients summed over lots of lanes,
// one update.
#pragma once

#include "kernels/tensor/buffer.hpp"
#include "model/adamw.hpp"
#include "model/classify_head.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lr_schedule.hpp"
#include "pipelines/samples.hpp"

#include <cstdint>
#include <vector>

namespace mambase::pipelines {

/// Everything that the weights of a classifier are a function of, data and starting weights apart.
struct ClassifyRecipe {
    std::int64_t window = 0;  // N
    std::int64_t batch = 0;   // windows a step
    /// Windows whose gradient is computed together: a function of window, batch and device alone.
    std::int64_t lanes = 0;
    std::int64_t eval_every = 0;    // steps
    std::int64_t eval_windows = 0;  // of a label, at most, in a validation on the way
    bool both_strands = true;
    bool freeze = false;
    model::HeadPool pool = model::HeadPool::mean;
    LrSchedule schedule;
    model::AdamWOptions optimizer;
    DType precision = DType::f32;  // of activations
    std::uint64_t seed = 0;
};

class ClassifyStep {
  public:
    /// All but `recipe` have to outlive this. chunk: positions of a window at once, at least 1;
    /// changes no result.
    ClassifyStep(const ClassifyRecipe& recipe,
                 const LabelledSampler& sampler,
                 const io::Tokenizer& tokenizer,
                 const model::Model& model,
                 std::int64_t chunk,
                 Engine& engine);

    struct Result {
        double nats = 0.0;  // mean over the step's windows
        double lr = 0.0;
        double gradient_norm = 0.0;  // before clipping
    };

    /// Step 1 …: a function of model, moments and step alone.
    Result run(std::int64_t step, model::Model& model, model::AdamW& optimizer);

  private:
    model::ClassBatch fill_lanes(std::int64_t step, std::int64_t first, std::int64_t count);

    ClassifyRecipe recipe_;
    const LabelledSampler& sampler_;
    const io::Tokenizer& tokenizer_;
    std::int64_t chunk_;
    Engine& engine_;
    std::vector<std::uint8_t> codes_;  // [N]
    Tensor ids_;                       // [lanes, N] u8, on the host as the others
    Tensor labels_;                    // [lanes, 1] u8
    Tensor member_;                    // [lanes, N] i32: A, C, G, T are pooled
    model::Gradients gradients_;
};

}  // namespace mambase::pipelines
