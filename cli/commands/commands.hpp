// The rows of the command table, each defined in commands/<name>.cpp.
#pragma once

#include "cli/command_table.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/score.hpp"

namespace mambase::cli {

Command pretrain_command();
Command evaluate_command();
Command embed_command();
Command score_command();
Command merge_command();
Command generate_command();
Command report_command();
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

/// What a run came to, in a few lines of the log; a merged one too.
void tell(const pipelines::EvaluateReport& report, const pipelines::Runtime& runtime);
void tell(const pipelines::EmbedReport& report, const pipelines::Runtime& runtime);
void tell(const pipelines::ScoreReport& report, const pipelines::Runtime& runtime);

}  // namespace mambase::cli
