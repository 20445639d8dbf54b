// run.json: what a training run was given, and what came of it.
#pragma once

#include "genomics_io/token_store.hpp"
#include "pipelines/pretrain.hpp"
#include "pipelines/recipe.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/training_data.hpp"

#include <string>

namespace mambase::pipelines {

/// One JSON object:
///   format_version, version, command_line and device (unless no_pg)
///   inputs   the paths, as given
///   options  named_values() of the recipe, all as text
///   data     contigs, bases by kind; train_bases, train_windows (different ones to draw from),
///            valid_bases, valid_windows (all that are held out)
///   outcome  end ("finished", "time_up", "signalled"), steps, bases, parameters, the best step and
///            its validation loss in bits, the context that was validated and how, the hash of the
///            model, seconds (unless no_pg)
std::string run_record(const PretrainOptions& options,
                       const NamedValues& values,
                       const io::TokenStore& store,
                       const DataSplit& split,
                       std::int64_t train_windows,
                       const PretrainReport& report,
                       const Runtime& runtime);

}  // namespace mambase::pipelines
