// What lies beside an array of embeddings: which rows are whose, and what the numbers are.
#pragma once

#include "genomics_io/table_sink.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/shard_files.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::pipelines {

/// "out" of "out.npy".
std::string embedding_stem(const std::string& output);

/// Of the table below.
std::vector<std::string_view> rows_table_columns(bool of_shard);

/// contig, start, end (0-based half-open), strand ("+", "-", "." for both), first row, rows; of a
/// shard also input and part, by which shards are put together. Appears under its name at finish().
class RowsTable {
  public:
    RowsTable(const std::string& path, const EmbedOptions& options);
    void add(const RowSpan& span);
    void finish() { table_.finish(); }

  private:
    io::TableSink table_;
    std::string_view strand_;
    Pooling pool_;
    bool is_shard_;
};

/// As such a description is written, by rename.
void write_json(const std::string& path, const nlohmann::ordered_json& json);

/// The JSON beside the array: format and its version, array and rows table (file names), shape,
/// dtype, model (its hash), layer, strand, pool, context ("whole" or bases), gap, tokenizer (name
/// and hash), version of the program, and its command line unless no_pg. `shard`: the object of
/// that name, before the version; empty: none.
void write_description(const std::string& path,
                       const EmbedOptions& options,
                       const EmbedReport& report,
                       const std::string& model_hash,
                       const io::Tokenizer& tokenizer,
                       const std::optional<ShardFacts>& shard,
                       const Runtime& runtime);

/// Writes the description, then lets the array appear; the rows table is there. Where that fails,
/// neither it nor the description stays.
void finish_embedding(const EmbedReport& report,
                      const std::function<void()>& describe,
                      const std::function<void()>& finish_array);

}  // namespace mambase::pipelines
