// The options of pretrain.
#pragma once

#include "pipelines/pretrain.hpp"

#include <CLI/App.hpp>

namespace mambase::cli {

/// Inputs, and what of them is for training and what for validation.
void declare_pretrain_data(CLI::App& app, pipelines::PretrainOptions& options);
/// The model, the optimisation, the course of the run.
void declare_pretrain_options(CLI::App& app, pipelines::PretrainOptions& options);

}  // namespace mambase::cli
