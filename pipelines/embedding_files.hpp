// What lies beside an array of embeddings: which rows are whose, and what the numbers are.
#pragma once

#include "genomics_io/table_sink.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/description.hpp"
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

/// "+", "-", "." for both.
std::string_view strand_sign(StrandChoice strand);

/// What the numbers are: format and its version, model (its hash), layer, strand, pool, and what
/// add_origin() adds.
nlohmann::ordered_json describe_numbers(const EmbedOptions& options,
                                        const EmbedReport& report,
                                        const std::string& model_hash,
                                        const io::Tokenizer& tokenizer,
                                        const std::optional<ShardFacts>& shard,
                                        const Runtime& runtime);

/// The JSON beside the array: the same with array and rows table (file names), shape and dtype.
void write_description(const std::string& path,
                       const EmbedOptions& options,
                       const EmbedReport& report,
                       const std::string& model_hash,
                       const io::Tokenizer& tokenizer,
                       const std::optional<ShardFacts>& shard,
                       const Runtime& runtime);

/// What lies beside an array means nothing without it: removes the rows table and the description.
void remove_beside(const EmbedReport& report) noexcept;

/// Writes the description, then lets the array appear; the rows table is there. Where that fails,
/// neither it nor the description stays.
template <class Describe, class FinishArray>
void finish_embedding(const EmbedReport& report,
                      const Describe& describe,
                      const FinishArray& finish_array) {
    try {
        describe();
        finish_array();
    } catch (...) {
        remove_beside(report);
        throw;
    }
}

}  // namespace mambase::pipelines
