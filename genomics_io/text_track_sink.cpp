#include "genomics_io/text_track_sink.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/table_sink.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <system_error>

#include <htslib/tbx.h>

namespace mambase::io {

namespace {

/// What a .tbi can address.
constexpr std::int64_t kLongestInTbi = std::int64_t{1} << 29;
constexpr int kCsiShift = 14;  // the least bin of a .csi: 16 kb, as in a .tbi
constexpr std::size_t kTextBytes = std::size_t{1} << 16;

template <class Number>
void append_number(std::string& out, Number value) {
    char digits[32];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, static_cast<std::size_t>(end - digits));
    static_cast<void>(error);  // the longest number has 24 characters
}

}  // namespace

void append_value(std::string& out, float value) {
    append_number(out, value);
}

TextTrackSink::TextTrackSink(const std::string& path,
                             TrackFormat format,
                             std::string_view value,
                             std::int64_t width,
                             int threads)
    : path_(path), format_(format), width_(width) {
    if (path.ends_with(".gz")) {
        bgzip_.emplace(path, threads);
    } else {
        plain_.emplace(path);
    }
    if (format == TrackFormat::tsv) {
        text_ = concat("contig\tstart\tend\t", value, "\n");
    }
}

void TextTrackSink::contig(std::string_view name, std::int64_t length) {
    require_plain_field(name, path_);
    if (format_ == TrackFormat::bedgraph) {
        names_.add(name, path_);
    }
    name_ = concat(name, '\t');
    length_ = length;
    longest_ = std::max(longest_, length);
}

void TextTrackSink::values(std::int64_t begin, std::span<const float> values) {
    for (const float value : values) {
        MAMBASE_ASSERT(begin < length_ && std::isfinite(value));
        const std::int64_t end = std::min(begin + width_, length_);
        text_.append(name_);
        append_number(text_, begin);
        text_.push_back('\t');
        append_number(text_, end);
        text_.push_back('\t');
        append_value(text_, value);
        text_.push_back('\n');
        begin = end;
        if (text_.size() >= kTextBytes) {
            flush();
        }
    }
}

void TextTrackSink::flush() {
    if (bgzip_) {
        bgzip_->write(text_);
    } else {
        plain_->write(text_);
    }
    text_.clear();
}

void TextTrackSink::finish() {
    flush();
    if (!bgzip_) {
        plain_->commit();
        return;
    }
    bgzip_->close();
    if (format_ == TrackFormat::bedgraph) {
        finish_with_index();
    } else {
        bgzip_->commit();
    }
}

void TextTrackSink::finish_with_index() {
    const bool csi = longest_ > kLongestInTbi;
    OutputPath index(path_ + (csi ? ".csi" : ".tbi"));
    if (tbx_index_build3(bgzip_->temporary().c_str(), index.temporary().c_str(),
                         csi ? kCsiShift : 0, 0, &tbx_conf_bed) != 0) {
        throw Error(ErrorCode::io, "cannot write the index").at(index.path());
    }
    // An index of the other kind that an earlier run left would be read instead.
    std::error_code ignored;
    std::filesystem::remove(path_ + (csi ? ".tbi" : ".csi"), ignored);
    index.commit();
    try {
        bgzip_->commit();
    } catch (...) {
        std::filesystem::remove(index.path(), ignored);
        throw;
    }
}

}  // namespace mambase::io
