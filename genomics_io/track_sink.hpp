// Values along contigs to the formats of genome browsers and tables.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mambase::io {

/// Appears under its name at finish(), whole, an index beside it first; without finish() nothing
/// stays. Values are f32 in every format, in text the shortest that reads back the same; they are
/// finite.
class TrackSink {
  public:
    TrackSink() = default;
    TrackSink(const TrackSink&) = delete;
    TrackSink& operator=(const TrackSink&) = delete;
    virtual ~TrackSink() = default;

    /// The values that come are of this contig. Error{usage}: a name that cannot be told apart in
    /// the format, since a contig before had it, or since it holds a tab or a line break.
    virtual void contig(std::string_view name, std::int64_t length) = 0;
    /// Value i is that of the bases [begin + i·width, begin + (i + 1)·width), clipped at the
    /// contig's end; begin is a multiple of width. Ascending; bases may be left out. How values are
    /// cut into calls changes no byte.
    virtual void values(std::int64_t begin, std::span<const float> values) = 0;
    virtual void finish() = 0;
};

enum class TrackFormat : std::uint8_t {
    tsv,       // contig, start, end, value under a header line; contigs may share a name
    bedgraph,  // the same without a header; bgzip comes with an index for tabix
    bigwig,
};

/// A format and its compression, by the end of a file's name: ".tsv", ".bedgraph", each also with
/// ".gz" (bgzip), ".bw", ".bigwig"; "-" is TSV on standard output. Error{usage} for other names.
TrackFormat track_format(std::string_view path);
/// "out" of "out.bedgraph.gz".
std::string_view track_stem(std::string_view path);

/// What so many values take, about, and rather less: in the file, and under TMPDIR before.
struct TrackSpace {
    std::int64_t file = 0;
    std::int64_t waiting = 0;
};
TrackSpace track_space(std::string_view path, std::int64_t values);

/// `value`: what the column of a table is called. `width`: bases of a value. `threads`: that may
/// compress.
std::unique_ptr<TrackSink> open_track(const std::string& path,
                                      std::string_view value,
                                      std::int64_t width,
                                      int threads);

}  // namespace mambase::io
