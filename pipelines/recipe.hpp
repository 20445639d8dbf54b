// A recipe: everything that the weights of a training run are a function of, the data apart.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/adamw.hpp"
#include "model/model.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lr_schedule.hpp"
#include "pipelines/pretrain.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mambase::pipelines {

/// Names and values, in an order that is kept.
using NamedValues = std::vector<std::pair<std::string, std::string>>;

/// What a run starts from.
struct Start {
    model::Model model;  // on the host
    const io::Tokenizer* tokenizer = nullptr;
};

/// Of a run that names none: "small" on a GPU, "tiny" on the CPU.
std::string_view default_preset(Device device);

/// As `options` say: a fresh model of a preset or a config.json, or the weights of a directory.
/// Throws Error{usage} where shape, vocabulary and tokenizer do not fit; else as Model::load and
/// read_config.
Start make_start(const PretrainOptions& options, Device device);

struct Recipe {
    std::int64_t context = 0;  // N
    std::int64_t batch = 0;    // windows a step
    /// Windows whose gradient is computed together (the last lot may be fewer): a function of
    /// context, batch and device alone, since the order in which gradients are added follows from
    /// it.
    std::int64_t lanes = 0;
    std::int64_t eval_every = 0;     // steps
    std::int64_t valid_windows = 0;  // at most; see make_recipe
    bool both_strands = true;
    double carry = 0.0;  // chance that a lane goes on with the window after its last one
    double mask_weight = 0.0;
    LrSchedule schedule;
    model::AdamWOptions optimizer;
    DType precision = DType::f32;  // of activations
    std::uint64_t seed = 0;

    std::int64_t steps() const { return schedule.steps; }
    std::int64_t bases_per_step() const { return batch * context; }
};

/// Fills in what the user left open, from the preset (default_preset() where none is named) and the
/// model. input_bases: of all inputs. Twenty evaluations over the run, each of a hundredth of the
/// bases trained on (ten windows at least, and at most the bases of 16 steps), take less than a
/// tenth of the time.
Recipe make_recipe(const PretrainOptions& options,
                   const Start& start,
                   std::int64_t input_bases,
                   Engine& engine);

/// What a resumed run has to agree on, under the names of the command line where it has one; `data`
/// says the same of its input, and comes last.
NamedValues named_values(const Recipe& recipe, const Start& start, const NamedValues& data);

}  // namespace mambase::pipelines
