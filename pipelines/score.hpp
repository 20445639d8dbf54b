// score: how well a model predicts each base, along the sequence.
#pragma once

#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace mambase::pipelines {

enum class ScoreWhat : std::uint8_t {
    logp,     // log p of the base that is there: 0 or less
    entropy,  // of the prediction, -sum p log p: 0 to log 4
};

enum class ScoreStrand : std::uint8_t {
    both,     // p(base | left, right), proportional to p(base | left) p(base | right) / p(base)
    forward,  // p(base | left)
    reverse,  // p(base | right)
};

std::string_view name(ScoreWhat what);
std::string_view name(ScoreStrand strand);

struct ScoreOptions {
    std::string model;  // directory
    ReadingOptions reading;
    std::string output;  // its end says the format: see io::track_format; of a shard any other name
    ScoreWhat what = ScoreWhat::logp;
    ScoreStrand strand = ScoreStrand::both;
    std::int64_t bin = 1;  // bases of a value, which is the mean over those that are scored
    bool dry_run = false;  // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct ScoreReport {
    std::int64_t records = 0;  // or regions
    std::int64_t scored = 0;   // bases
    double sum = 0.0;          // of their values, nats
    std::int64_t values = 0;   // written
    std::int64_t context = 0;
    double seconds = 0.0;
    std::string output;       // path written
    std::string description;  // the JSON beside it; none beside standard output or a shard
    std::string plan;         // dry_run: several lines
};

/// Writes a value, in nats, for each base or bin, in the order of records and positions, and beside
/// it a JSON that says what the values are. Probabilities are over A, C, G, T; p(base) is the
/// composition of the whole contig or read, (n + 1) / (all + 4), in whatever regions are asked for.
///
/// A base without a prediction from the left (the first after a reset: its record's or run's first)
/// has with `both` the one from the right, and the other way round: what reads nothing predicts
/// p(base), which cancels. Left out: bases that nothing predicts, what is not A, C, G or T, gaps,
/// and bins in which nothing is scored. Regions are joined, each base once; with bins they are
/// widened to whole ones, counted from the record's start.
///
/// A value depends on position, context, bin and contig alone: not on regions, chunk, threads,
/// other records, nor on the format of the file. Under TMPDIR wait the bases of what is not FASTA
/// that is plain or bgzip, a byte each, and with the reverse strand 20 bytes a base: for records
/// of up to 2^26 bases together, or of one record.
///
/// A shard writes one file for merge_scores(), which makes the track of them.
///
/// Error{io}: not enough free space, before anything is computed, where the inputs are files.
/// Otherwise errors of the readers, Model::load and the sinks; Error{cancelled} on a stop.
ScoreReport score(const ScoreOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
