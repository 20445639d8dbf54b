// Options that pretrain and classify train share, whose structs name them alike. `options` has to
// outlive the app.
#pragma once

#include "cli/common_options.hpp"
#include "cli/option_types.hpp"

#include <string>

#include <CLI/App.hpp>

namespace mambase::cli {

template <class Options>
void declare_either_strand(CLI::App& app, Options& options) {
    add_flag(app, "--rc,!--no-rc", options.both_strands,
             "Each window on either strand, or on the forward one alone; default: either");
}

template <class Options>
void declare_update(CLI::App& app, Options& options) {
    add_number(app, "--warmup", options.warmup, "Share of the steps in which the rate rises");
    add_number(app, "--weight-decay", options.weight_decay,
               "Decoupled, times the rate; not on A_log, D, biases and norms");
    add_number(app, "--clip", options.clip, "Largest norm of the gradient; 0: no limit");
}

template <class Options>
void declare_chunk_and_validation(CLI::App& app, Options& options) {
    declare_chunk(app, options.chunk, "Bases of a window held at once; default: whole windows");
    add_count(app, "--eval-every", options.eval_every,
              "Steps between validations; default: a twentieth of the run");
}

template <class Options>
void declare_stops(CLI::App& app, Options& options) {
    add_parsed(app, "--max-time", "TIME",
               "Stop after TIME (seconds, or with s, m, h, d), save, and exit 85: run again to go "
               "on",
               [&options](const std::string& text) { options.max_time = parse_duration(text); });
    add_text(app, "--resume", options.resume, "auto|never|DIR",
             "Go on from the state in the output directory if there is one; never; or from DIR's");
    declare_dry_run(app, options.dry_run);
}

}  // namespace mambase::cli
