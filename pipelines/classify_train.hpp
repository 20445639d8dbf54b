// classify train: a classification head on a model, from labelled sequence.
#pragma once

#include "model/classify_head.hpp"
#include "pipelines/classify_calibrate.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace mambase::pipelines {

struct Runtime;

/// What a user may say.
struct ClassifyTrainOptions {
    std::string samples;      // table, see samples.hpp; "-" is standard input
    std::string model;        // directory that training starts from
    std::string output;       // directory
    std::string taxonomy;     // table, see taxonomy.hpp; may be empty
    bool ignore_eof = false;  // bgzip without its end marker is fine
    std::string tokenizer;    // for a model that does not name its own

    std::optional<std::int64_t> context;  // bases a window; the model's validated context
    std::int64_t gap = 1;                 // bases in a row, not A, C, G, T, that no window holds
    std::int64_t steps = 1000;
    std::int64_t batch = 32;  // windows a step
    bool freeze = false;      // train the head alone
    model::HeadPool pool = model::HeadPool::mean;
    bool both_strands = true;  // each window on either strand

    std::optional<double> lr;  // peak rate; 1e-3, with freeze 1e-2
    double warmup = 0.05;      // share of the steps, in [0, 1)
    double weight_decay = 0.1;
    double clip = 1.0;  // global norm; 0: no clipping
    std::uint64_t seed = 0;

    std::optional<std::int64_t> eval_every;  // steps; a twentieth of the run
    std::int64_t valid_windows = 1000;  // of a label, at most, that the scores are calibrated on
    std::int64_t chunk = 0;          // bases of a window held at once; 0: whole. Changes no result
    std::optional<double> max_time;  // seconds; then stop in order
    std::string resume = "auto";     // "auto", "never", or a directory whose state to go on from
    bool dry_run = false;            // read the samples, time a step, write nothing

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct ClassifyTrainReport {
    bool finished = false;  // else stopped in order, by time or signal; the state is saved
    std::int64_t steps = 0;
    std::int64_t steps_done = 0;  // earlier parts included
    std::int64_t labels = 0;
    ValidatedWindows valid;   // of the model that is kept; none: no temperature, no confidence
    double confidence = 0.0;  // the default of a call
    std::int64_t best_step = 0;
    std::string model_hash;
    std::string plan;  // dry_run: memory, what would be written, time, several lines
};

/// Reads the samples, trains and fills the directory `output`:
///   config.json, model.safetensors  the model with its head: the best by validation (without any,
///                                   the last); classify_head.weight [C,D], classify_head.bias [C]
///   classifier.json                 labels, pool, window, temperatures, confidence, taxonomy
///   train_state.safetensors         all that a resumed run needs; written at each validation and
///                                   at a stop
///   metrics.jsonl                   one line a step and a validation
///   run.json                        options, samples, version, outcome
///
/// The weights are a function of samples, model, options and seed; not of threads, `chunk`, nor of
/// where the run was stopped and resumed. Resuming as pretrain has it; the directory is one run's
/// at a time, and what a killed run left unfinished in it goes. Temperatures are fitted on the
/// validation part, for quarters and halves of a window, windows, and means of 4, 16 and 64 that
/// follow one another; confidence is the least probability with at most 5 % false calls among the
/// validation windows. Warns where the model says that it was trained on files of the test part.
/// Errors as of SampleSet, LabelledSampler, Model::load; Error{usage} for a state of other options,
/// with the list; Error{io} where another run writes to the directory.
ClassifyTrainReport classify_train(const ClassifyTrainOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
