#include "cli/pretrain_options.hpp"

#include "cli/common_options.hpp"
#include "cli/option_types.hpp"
#include "cli/training_options.hpp"

#include <string>

namespace mambase::cli {

namespace {

using Options = pipelines::PretrainOptions;

void declare_model_shape(CLI::App& app, Options& options) {
    add_text(app, "--preset", options.preset, "NAME",
             "Model and recipe: tiny (64 wide, 4 blocks), small (256, 8), base (256, 16), paper-*. "
             "Default: tiny on the CPU, small on a GPU");
    add_text(app, "--config", options.config, "FILE", "Fresh model of this config.json");
    // Not from MAMBASE_MODEL_PATH: what a training run starts from is always said.
    add_text(app, "-m,--model", options.model, "DIR", "Start from the weights of this model");
    add_count(app, "--d-model", options.d_model, "Width; default: the preset's");
    add_count(app, "--layers", options.layers, "Blocks; default: the preset's");
    add_count(app, "--d-state", options.d_state, "States a channel; default: the preset's");
    add_count(app, "--expand", options.expand, "Inner width over width; default: the preset's");
    add_count(app, "--d-conv", options.d_conv, "Taps of the convolution; default: the preset's");
    add_count(app, "--dt-rank", options.dt_rank, "Rank of the step; default: width / 16");
    add_number(app, "--norm-eps", options.norm_eps, "Of the norms; default 1e-5");
    add_flag(app, "--bias", options.bias, "The projections in and out have a bias");
    add_flag(app, "--no-conv-bias", options.no_conv_bias, "The convolution has none");
    add_flag(app, "--untie", options.untie, "The head has weights of its own, not the embedding's");
    add_number(app, "--dt-min", options.dt_min,
               "A fresh model's steps are drawn from; default 1e-3");
    add_number(app, "--dt-max", options.dt_max, "to this, log-uniformly; default 0.1");
    add_number(app, "--dt-init-floor", options.dt_init_floor, "at least this; default 1e-4");
    add_choice(app, "--dt-init", options.dt_init, {"random", "constant"},
               "Its step weights: uniform within their bound, or at it; default: random");
    add_number(app, "--dt-scale", options.dt_scale, "times that bound; default 1");
    add_choice(app, "--tokenizer", options.tokenizer, {"dna", "bytes"},
               "Default: the model's, or dna");
}

void declare_optimisation(CLI::App& app, Options& options) {
    add_count(app, "--context", options.context, "Bases a window. Default: the preset's");
    declare_either_strand(app, options);
    add_number(app, "--carry", options.carry,
               "Chance that a window is the one right after its lane's last, read from the state "
               "that it left (the gradient is cut there), 0 to 1");
    add_number(app, "--mask-weight", options.mask_weight,
               "Loss weight of lower-case (soft-masked) bases, 0 to 1");
    add_count(app, "--steps", options.steps, "Steps of the optimiser; or");
    add_count(app, "--bases", options.bases,
              "bases to train on in all. Default: 20 times the input, at most the preset's limit "
              "(tiny: 100 M)");
    add_count(app, "--batch", options.batch,
              "Windows a step. Default: the preset's bases a step over the context");
    add_number(app, "--lr", options.lr, "Peak learning rate. Default: the preset's");
    add_number(app, "--min-lr", options.min_lr, "Rate at the end. Default: a tenth of the peak");
    declare_update(app, options);
    add_number(app, "--beta1", options.beta1, "AdamW's memory of the gradient");
    add_number(app, "--beta2", options.beta2, "AdamW's memory of its square");
    add_seed(app, "--seed", options.seed, "Of initial weights and of the windows drawn");
}

void declare_course(CLI::App& app, Options& options) {
    declare_chunk_and_validation(app, options);
    add_count(app, "--save-every", options.save_every,
              "Steps between saves of the state; default: at each validation");
    add_count(app, "--keep", options.keep,
              "Keep the last INT saved steps, each as a directory step-N with its model and state");
    declare_stops(app, options);
}

}  // namespace

void declare_pretrain_data(CLI::App& app, pipelines::PretrainOptions& options) {
    declare_inputs(app, options.inputs, options.ignore_eof, options.reference);
    add_text(app, "--train", options.train_bed, "FILE.bed",
             "Train on these intervals (0-based, half-open) alone; or");
    add_texts(app, "--train-contigs", options.train_contigs, "NAME[,NAME...]",
              "on these contigs; may be given again");
    add_text(app, "--valid", options.valid_bed, "FILE.bed",
             "Validate on these intervals, and train on none of their bases; or");
    add_texts(
        app, "--valid-contigs", options.valid_contigs, "NAME[,NAME...]",
        "on these contigs; may be given again. Default: the last 5 % of each contig over 1 Mb "
        "that is trained on, of the longest where there is none");
}

void declare_pretrain_options(CLI::App& app, pipelines::PretrainOptions& options) {
    declare_model_shape(app, options);
    declare_optimisation(app, options);
    declare_course(app, options);
}

}  // namespace mambase::cli
