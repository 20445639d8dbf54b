// pretrain: a causal language model of DNA from sequence files.
#pragma once

#include "pipelines/validated_context.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct Runtime;

/// What a user may say. An empty optional takes the default: the preset's or, starting from
/// `model`, that model's; see recipe.hpp.
struct PretrainOptions {
    std::vector<std::string> inputs;  // as io::open_sequences reads; "-" is standard input
    std::string output;               // directory
    bool ignore_eof = false;          // bgzip, BAM, CRAM without their end marker are fine
    std::string reference;            // FASTA that a CRAM was written against; may be empty
    // What to train and to validate on: intervals of a BED file, and contigs by name (a text may be
    // several, parted by commas). Empty: see split_data().
    std::string train_bed;
    std::string valid_bed;
    std::vector<std::string> train_contigs;
    std::vector<std::string> valid_contigs;

    // Where the model comes from: at most one of the three; none is the device's default_preset().
    std::string preset;
    std::string config;  // config.json; fresh weights
    std::string model;   // directory; goes on from its weights
    // The shape of a fresh model, over what `preset` or `config` say.
    std::optional<std::int64_t> d_model;
    std::optional<std::int64_t> layers;
    std::optional<std::int64_t> d_state;
    std::optional<std::int64_t> expand;  // inner width over d_model
    std::optional<std::int64_t> d_conv;
    std::optional<std::int64_t> dt_rank;
    std::optional<double> norm_eps;
    bool bias = false;          // in_proj and out_proj have one
    bool no_conv_bias = false;  // the convolution has none
    bool untie = false;         // the head has a table of its own
    // How a fresh model's steps begin (spec Mamba 1.6).
    std::optional<double> dt_min;
    std::optional<double> dt_max;
    std::optional<double> dt_init_floor;
    std::optional<double> dt_scale;
    std::string dt_init;    // "random" or "constant"; empty: what the config says
    std::string tokenizer;  // empty: the model's, or "dna" for a fresh one

    std::optional<std::int64_t> context;  // bases a window (N inputs and N targets)
    std::optional<std::int64_t> batch;    // windows a step
    std::optional<std::int64_t> steps;    // at most one of steps and bases
    std::optional<std::int64_t> bases;    // targets read in all, rounded up to whole steps
    bool both_strands = true;             // each window on either strand
    // Chance, in [0, 1], that a lane goes on with the window right after its last one, its state
    // carried and the gradient cut there, instead of jumping to another.
    double carry = 0.0;
    double mask_weight = 0.1;  // loss weight of lower-case targets, in [0, 1]

    std::optional<double> lr;      // peak rate
    std::optional<double> min_lr;  // where the cosine ends; a tenth of the peak
    double warmup = 0.05;          // share of the steps, in [0, 1)
    double weight_decay = 0.1;
    double clip = 1.0;  // global norm; 0: no clipping
    double beta1 = 0.9;
    double beta2 = 0.95;
    std::uint64_t seed = 0;

    std::optional<std::int64_t> eval_every;  // steps; a twentieth of the run
    std::optional<std::int64_t> save_every;  // steps; default: at each validation
    std::int64_t keep = 0;   // steps that were saved, kept as step-<step>; 0: the state alone
    std::int64_t chunk = 0;  // bases of a lane held at once; 0: whole windows. Changes no result
    std::optional<double> max_time;  // seconds; then stop in order
    std::string resume = "auto";     // "auto", "never", or a directory whose state to go on from
    bool dry_run = false;            // read the input, time a step, write nothing

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

enum class PretrainEnd : std::uint8_t {
    finished,   // all steps are done, model.safetensors is written
    time_up,    // max_time: the state is saved, run again to go on
    signalled,  // Runtime::stop: the same
    dry_run,
};

struct PretrainReport {
    PretrainEnd end = PretrainEnd::finished;
    std::int64_t steps = 0;       // of the run
    std::int64_t steps_done = 0;  // through now, earlier parts included
    std::int64_t first_step = 0;  // done before this call: 0 unless resumed
    std::int64_t bases_done = 0;
    std::int64_t parameters = 0;
    std::optional<double> train_bits;  // mean over the last tenth of this call's steps
    // Of the model that is kept; empty without validation bases.
    std::optional<double> valid_bits;
    std::int64_t best_step = 0;
    double seconds = 0.0;  // this call's steps and evaluations
    double bases_per_second = 0.0;
    std::optional<ValidatedContext> context;  // of the model written
    std::string model_hash;                   // of the model written, where the run is finished
    std::string plan;  // dry_run: what would run, memory and time, several lines
};

/// Reads the inputs, trains, and fills the directory `output`:
///   config.json, model.safetensors  the best model by validation (without validation bases, the
///                                   last), once all steps are done, with the context that it bears
///                                   (validated_context.hpp)
///   train_state.safetensors         all that a resumed run needs (train_state.hpp); written every
///                                   save_every steps and at a stop
///   step-<step>/                    the model and the state of the last `keep` of those steps
///   metrics.jsonl                   one line a step and a validation (metrics.hpp)
///   run.json                        options, data, version, outcome
///
/// The weights are a function of the input, the options and the seed; not of threads, `chunk`, nor
/// of where the run was stopped and resumed. resume "auto" goes on from the state in `output` if
/// there is one (of a finished run: writes its model again and is done); "never" refuses a
/// directory that has a state or a model. Error{usage}: a state of other options or other input,
/// with the list; regions for training and validation that overlap; a model in `output` that no
/// state goes with; no window fits. Otherwise errors as of the readers and Model::load.
PretrainReport pretrain(const PretrainOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
