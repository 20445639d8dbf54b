// What lies beside an array of embeddings: which rows are whose, and what the numbers are.
#pragma once

#include "genomics_io/table_sink.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace mambase::pipelines {

/// "out" of "out.npy".
std::string embedding_stem(const std::string& output);

/// contig, start, end (0-based half-open), strand ("+", "-", "." for both), first row, rows.
/// Appears under its name at finish().
class RowsTable {
  public:
    RowsTable(const std::string& path, const EmbedOptions& options);
    void add(const RowSpan& span);
    void finish() { table_.finish(); }

  private:
    io::TableSink table_;
    std::string_view strand_;
    Pooling pool_;
};

/// The JSON beside the array: format and its version, array and rows table (file names), shape,
/// dtype, model (its hash), layer, strand, pool, and what add_origin() adds.
void write_description(const std::string& path,
                       const EmbedOptions& options,
                       const EmbedReport& report,
                       const std::string& model_hash,
                       const io::Tokenizer& tokenizer,
                       const Runtime& runtime);

}  // namespace mambase::pipelines
