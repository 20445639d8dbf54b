// train_state.safetensors: all that a stopped training run needs to go on.
//
// Tensors: model.<parameter> the weights, m.<parameter> and v.<parameter> AdamW's moments, and,
// where a validation has been, best.<parameter> the weights of the best model so far; of lanes that
// carry their state on, lane.contig, lane.start, lane.strand and lane.states.<lot>. Metadata:
// format_version, step, best_step and best_nats, and option.<name> for every option that the
// weights depend on. Every random draw is a function of (seed, step, lane), so that no state of a
// generator is here.
#pragma once

#include "genomics_io/sample_windows.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/adamw.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"
#include "pipelines/recipe.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mambase::pipelines {

/// The best model by validation so far.
struct BestModel {
    std::int64_t step = 0;
    double nats = 0.0;            // mean validation loss
    std::vector<Tensor> weights;  // by the parameter table
};

/// Where the lanes are, of a run in which they may go on with the window after their last one.
struct CarriedLanes {
    /// All at no window. `batch` lanes in lots of `lot`, the last of what is left.
    CarriedLanes(const model::ModelConfig& config,
                 std::int64_t batch,
                 std::int64_t lot,
                 DeviceQueue& queue);

    std::vector<io::SampledWindow> windows;  // [batch] the last one read
    std::vector<model::StateBank> states;    // of each lot's lanes, after it
};

struct TrainState {
    TrainState(model::Model start, const model::AdamWOptions& options, DeviceQueue& queue)
        : model(std::move(start)), optimizer(model, options, queue) {}

    model::Model model;
    model::AdamW optimizer;             // counts the steps done
    std::optional<BestModel> best;      // none before the first validation
    std::optional<CarriedLanes> lanes;  // of a run that carries states on
};

/// Copies the weights of `model` to the host.
std::vector<Tensor> copy_weights(const model::Model& model, DeviceQueue& queue);
/// Puts them back.
void set_weights(model::Model& model, const std::vector<Tensor>& weights, DeviceQueue& queue);

/// Whole, by rename. `options`: named_values() of the recipe. Throws Error{io}.
void save_train_state(const std::string& path,
                      TrainState& state,
                      const NamedValues& options,
                      ops::Context& context);

/// Fills `state`, which is made for the same model and has lanes where the run has. Throws
/// Error{usage} that lists the options in which the saved run differs from `options` before
/// anything is read; Error{format} for a file that is damaged or not ours.
void load_train_state(const std::string& path,
                      TrainState& state,
                      const NamedValues& options,
                      DeviceQueue& queue);

}  // namespace mambase::pipelines
