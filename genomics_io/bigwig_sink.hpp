// bigWig files (the binary wiggle of the UCSC and IGV browsers, version 4).
//
// Written by ourselves: libBigWig 0.4.7 takes 14 bytes a value when it makes the summaries for
// zooming out, and aborts on a full disk (both measured). Here memory is what the index takes, 32
// bytes for 4,096 values. Values wait under TMPDIR, 4 bytes each, and their summaries, about as
// much again: a bigWig names its contigs before their values, and in the order of names.
#pragma once

#include "base/file.hpp"
#include "genomics_io/contig_names.hpp"
#include "genomics_io/track_sink.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::io {

class BigWigSink final : public TrackSink {
  public:
    /// Error{unsupported} for "-": it is written in place. The bytes do not depend on `threads`.
    BigWigSink(const std::string& path, std::int64_t width, int threads);

    /// Error{unsupported} for more than 2^32 - 1 bases, which the format cannot address.
    void contig(std::string_view name, std::int64_t length) override;
    void values(std::int64_t begin, std::span<const float> values) override;
    void finish() override;

  private:
    struct Contig {
        std::string name;
        std::uint32_t length = 0;
        std::int64_t offset = 0;  // of its runs in the spool
        std::int64_t end = 0;
    };

    class ValueWriter;

    void flush_run();
    void write_values(ValueWriter& writer);

    OutputFile out_;
    std::uint32_t width_;
    int threads_;
    ContigNames names_;
    std::vector<Contig> contigs_;  // as they came
    File spool_;                   // runs: first base, number of values (8 bytes each), values
    std::int64_t spooled_ = 0;
    std::int64_t run_begin_ = 0;
    std::vector<float> run_;  // consecutive values that are not in the spool yet
};

}  // namespace mambase::io
