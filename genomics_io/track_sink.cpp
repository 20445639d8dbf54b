#include "genomics_io/track_sink.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/bigwig_sink.hpp"
#include "genomics_io/contig_names.hpp"
#include "genomics_io/text_track_sink.hpp"

#include <array>

namespace mambase::io {

namespace {

struct Ending {
    std::string_view text;
    TrackFormat format;
    std::int64_t bytes;  // of a value, about and rather less
};

constexpr std::array<Ending, 6> kEndings{{{".tsv", TrackFormat::tsv, 20},
                                          {".tsv.gz", TrackFormat::tsv, 8},
                                          {".bedgraph", TrackFormat::bedgraph, 20},
                                          {".bedgraph.gz", TrackFormat::bedgraph, 8},
                                          {".bw", TrackFormat::bigwig, 5},
                                          {".bigwig", TrackFormat::bigwig, 5}}};
/// A value of a bigWig and its share of the summaries, until the file is written.
constexpr std::int64_t kBigWigWaiting = 6;

const Ending& ending_of(std::string_view path) {
    for (const Ending& ending : kEndings) {
        if (path.ends_with(ending.text)) {
            return ending;
        }
    }
    throw Error(ErrorCode::usage,
                concat("the output's name says its format: it ends in .bw, .bigwig, .bedgraph, "
                       ".bedgraph.gz, .tsv or .tsv.gz, not as \"",
                       path, "\""));
}

}  // namespace

TrackFormat track_format(std::string_view path) {
    return path == "-" ? TrackFormat::tsv : ending_of(path).format;
}

std::string_view track_stem(std::string_view path) {
    return path.substr(0, path.size() - ending_of(path).text.size());
}

TrackSpace track_space(std::string_view path, std::int64_t values) {
    if (path == "-") {
        return {};
    }
    const Ending& ending = ending_of(path);
    const bool waits = ending.format == TrackFormat::bigwig;
    return {checked_mul(values, ending.bytes), waits ? checked_mul(values, kBigWigWaiting) : 0};
}

std::unique_ptr<TrackSink> open_track(const std::string& path,
                                      std::string_view value,
                                      std::int64_t width,
                                      int threads) {
    const TrackFormat format = track_format(path);
    if (format == TrackFormat::bigwig) {
        return std::make_unique<BigWigSink>(path, width, threads);
    }
    return std::make_unique<TextTrackSink>(path, format, value, width, threads);
}

void ContigNames::add(std::string_view name, const std::string& path) {
    if (!names_.emplace(name).second) {
        throw Error(ErrorCode::usage,
                    concat("two sequences are named ", name,
                           ", and this format tells them by their names; write .tsv or .tsv.gz"))
            .at(path);
    }
}

}  // namespace mambase::io
