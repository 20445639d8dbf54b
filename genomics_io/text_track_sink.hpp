// Tracks as lines of text: bedGraph and TSV, plain or bgzip.
#pragma once

#include "base/file.hpp"
#include "genomics_io/bgzip_file.hpp"
#include "genomics_io/contig_names.hpp"
#include "genomics_io/track_sink.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace mambase::io {

/// The shortest text that reads back as the same f32.
void append_value(std::string& out, float value);

class TextTrackSink final : public TrackSink {
  public:
    /// Bgzip where the path ends in ".gz"; bedGraph then has an index (.tbi, or .csi where a contig
    /// is longer than 2^29, which a .tbi cannot hold).
    TextTrackSink(const std::string& path,
                  TrackFormat format,
                  std::string_view value,
                  std::int64_t width,
                  int threads);

    void contig(std::string_view name, std::int64_t length) override;
    void values(std::int64_t begin, std::span<const float> values) override;
    void finish() override;

  private:
    void flush();
    void finish_with_index();

    std::string path_;
    TrackFormat format_;
    std::int64_t width_;
    std::optional<OutputFile> plain_;
    std::optional<BgzipFile> bgzip_;
    ContigNames names_;
    std::string name_;  // of the contig, with a tab
    std::int64_t length_ = 0;
    std::int64_t longest_ = 0;  // contig
    std::string text_;
};

}  // namespace mambase::io
