// embed: per-base or binned embeddings of sequence to an array file.
#pragma once

#include "genomics_io/npy_sink.hpp"
#include "model/forward.hpp"
#include "pipelines/pooling.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace mambase::pipelines {

enum class StrandChoice : std::uint8_t {
    concat,   // [left-to-right, reverse] at the same base: 2·D numbers
    forward,  // D numbers
    reverse,
    mean,  // of the two, in f32
};

std::string_view name(StrandChoice strand);

struct EmbedOptions {
    std::string model;  // directory
    ReadingOptions reading;
    std::string output;                      // "….npy", "….h5"; with a channel a track
    std::int64_t layer = model::kLastLayer;  // 0: token embedding; K: residual stream after block K
    StrandChoice strand = StrandChoice::concat;
    Pooling pool;  // what a row stands for
    io::RowType dtype = io::RowType::f16;
    /// Of a track: the one number of each row that it has, counted from 0. A row is then a base or
    /// a bin; regions are joined as by score().
    std::optional<std::int64_t> channel;
    /// Bytes of the output where neither regions nor a pool bound it.
    std::int64_t max_output = std::int64_t{10} << 30;
    bool dry_run = false;  // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct EmbedReport {
    std::int64_t records = 0;  // lines of the rows table
    std::int64_t rows = 0;
    std::int64_t dim = 0;
    std::int64_t bytes = 0;  // of the array file
    std::int64_t context = 0;
    std::int64_t bases_read = 0;  // both strands counted
    std::string array;            // paths written
    std::string rows_table;
    std::string description;
    double seconds = 0.0;
    std::string plan;  // dry_run: output, memory and time, several lines
};

/// Writes `output` [rows, dim], C order; beside it "….rows.tsv" (contig, start, end, strand, first
/// row, rows: one line a record or region) and "….json" (what the numbers are). Each appears only
/// whole, the array last.
///
/// Rows are in the order of records (regions: as asked for; the file is read in its own order),
/// bases ascending in forward coordinates for either strand. Rows in gaps are zero, as are those of
/// bins and records without A, C, G, T; a record without bases has no row. With bins a region is
/// widened to whole ones. A value depends on position, context and pool alone: not on regions,
/// chunk, threads, other records, nor on the format of the file.
///
/// Several inputs follow one another. The reverse strand of FASTA that is plain or bgzip is read by
/// random access; of all else (reads, plain gzip, pipes, lines of uneven length) the bases wait in
/// an unnamed file under TMPDIR, a byte each, up to 2^28 of them or one record, whichever is more.
///
/// Error{usage}: more than max_output; Error{io}: not enough free space, each before anything is
/// computed (max_output of standard input: when it is passed). Error{format}: a value that
/// overflows f16. Otherwise errors as of the readers and Model::load; Error{cancelled} on a stop.
EmbedReport embed(const EmbedOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
