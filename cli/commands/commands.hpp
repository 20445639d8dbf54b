// The rows of the command table, each defined in commands/<name>.cpp.
#pragma once

#include "cli/command_table.hpp"

namespace mambase::cli {

Command pretrain_command();
Command evaluate_command();
Command embed_command();
Command classify_train_command();
Command classify_predict_command();
Command classify_evaluate_command();
Command tokenize_command();
Command model_show_command();
Command model_verify_command();
Command model_convert_command();
Command model_init_command();
Command bench_command();
Command selftest_command();
Command version_command();
Command help_command();

}  // namespace mambase::cli
