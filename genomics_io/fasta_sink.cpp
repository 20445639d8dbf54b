#include "genomics_io/fasta_sink.hpp"

#include "base/text.hpp"
#include "genomics_io/bgzip_file.hpp"

#include <cstddef>

namespace mambase::io {

namespace {

constexpr std::size_t kLine = 60;

}  // namespace

FastaSink::FastaSink(const std::string& path, int threads) {
    if (path.ends_with(".gz") || path.ends_with(".bgz")) {
        bgzip_ = std::make_unique<BgzipFile>(path, threads);
    } else {
        plain_.emplace(path);
    }
}

FastaSink::~FastaSink() = default;

void FastaSink::record(std::string_view name, std::string_view bases) {
    text_ = concat('>', name, '\n');
    for (std::size_t begin = 0; begin < bases.size(); begin += kLine) {
        text_.append(bases.substr(begin, kLine));
        text_.push_back('\n');
    }
    if (bgzip_) {
        bgzip_->write(text_);
    } else {
        plain_->write(text_);
    }
}

void FastaSink::finish() {
    if (bgzip_) {
        bgzip_->close();
        bgzip_->commit();
    } else {
        plain_->commit();
    }
}

}  // namespace mambase::io
