// What the rows of an embedding run go to: an array, an HDF5 file, or one of their numbers as a
// track.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/shard_files.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace mambase::pipelines {

/// Nothing stays without finish().
class EmbeddingSink {
  public:
    EmbeddingSink() = default;
    EmbeddingSink(const EmbeddingSink&) = delete;
    EmbeddingSink& operator=(const EmbeddingSink&) = delete;
    virtual ~EmbeddingSink() = default;

    /// rows[n, dim] are the rows first_row … first_row + n − 1. Each comes once, in any order; rows
    /// that never come are zero, in a track left out.
    virtual void write_rows(std::int64_t first_row, const float* rows, std::int64_t n) = 0;
    /// The spans of the rows, in their order.
    virtual void add(const RowSpan& span) = 0;
    /// The output appears, whole, last what lies beside it.
    virtual void finish(const EmbedReport& report, const std::optional<ShardFacts>& shard) = 0;
};

/// What the numbers come from, for the descriptions.
struct EmbeddingOrigin {
    std::string model_hash;
    const io::Tokenizer& tokenizer;
    const Runtime& runtime;
};

enum class EmbedFormat : std::uint8_t { array, hdf5, track };

/// By the end of the output's name: ".npy", ".h5", or as of io::track_format(). Error{usage} for
/// other names.
EmbedFormat embed_format(const std::string& output);

/// The paths of the report are to be named already (name_files). `options` and what `origin` refers
/// to have to outlive it.
std::unique_ptr<EmbeddingSink> open_embedding(const EmbedOptions& options,
                                              const EmbedReport& report,
                                              const EmbeddingOrigin& origin);
void name_files(EmbedReport& report, const EmbedOptions& options);

/// Bytes of so many rows in the output, of a track at most so many values.
std::int64_t output_bytes(const EmbedOptions& options, std::int64_t dim, std::int64_t rows);

}  // namespace mambase::pipelines
