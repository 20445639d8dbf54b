// Shards of embed, put together.
#pragma once

#include "pipelines/embed.hpp"
#include "pipelines/runtime.hpp"

#include <string>
#include <vector>

namespace mambase::pipelines {

/// Writes the array, rows table and description that the run without shards writes (the command is
/// that of `runtime`, and left out where the shards have none). `arrays`: of the shards of one run,
/// in any order; "….rows.tsv" and "….json" lie beside each. Error{usage} as shards_in_order();
/// Error{format} where a file is damaged.
EmbedReport merge_embeddings(const std::vector<std::string>& arrays,
                             const std::string& output,
                             const Runtime& runtime);

}  // namespace mambase::pipelines
