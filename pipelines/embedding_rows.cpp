#include "pipelines/embedding_rows.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Pooled rows that are handed on together.
constexpr std::int64_t kBufferedRows = 1024;

}  // namespace

StrandRows::StrandRows(io::Strand strand, const Pooling& pooling, std::int64_t dim, Sink sink)
    : strand_(strand), pooling_(pooling), dim_(dim), sink_(std::move(sink)) {}

void StrandRows::take(const HiddenRows& hidden, const RowSpan& span) {
    if (strand_ == io::Strand::forward) {
        sink_(span.first_row + hidden.begin - span.bases.begin, hidden.rows, hidden.count);
        return;
    }
    buffer_.resize(static_cast<std::size_t>(hidden.count * dim_));
    for (std::int64_t i = 0; i < hidden.count; ++i) {
        std::copy_n(hidden.rows + i * dim_, dim_, buffer_.data() + (hidden.count - 1 - i) * dim_);
    }
    const io::Interval bases =
        io::mirrored({hidden.begin, hidden.begin + hidden.count}, span.length);
    sink_(span.first_row + bases.begin - span.bases.begin, buffer_.data(), hidden.count);
}

PooledStretch StrandRows::stretch(const RowSpan& span, io::Interval positions) const {
    if (pooling_.is_whole()) {
        return {span.first_row, positions.end};
    }
    const bool forward = strand_ == io::Strand::forward;
    const std::int64_t base = forward ? positions.begin : span.length - 1 - positions.begin;
    const std::int64_t bin = (base - span.bases.begin) / pooling_.bin;
    const std::int64_t bin_begin = span.bases.begin + bin * pooling_.bin;
    const std::int64_t end = forward ? bin_begin + pooling_.bin : span.length - bin_begin;
    return {span.first_row + bin, std::min(end, positions.end)};
}

void StrandRows::take(std::int64_t row, const double* sum, std::int64_t count) {
    // Records come in order on either strand, the bins of one from the right on the reverse.
    const std::int64_t step = ascending() ? 1 : -1;
    if (buffered_ == kBufferedRows || (buffered_ > 0 && row != latest_row_ + step)) {
        flush();
    }
    buffer_.resize(static_cast<std::size_t>((buffered_ + 1) * dim_));
    const bool sums = pooling_.how == Pool::bins || pooling_.how == Pool::mean;
    const double divisor = sums ? static_cast<double>(count) : 1.0;
    std::transform(sum, sum + dim_, buffer_.data() + buffered_ * dim_,
                   [divisor](double value) { return static_cast<float>(value / divisor); });
    ++buffered_;
    latest_row_ = row;
}

void StrandRows::flush() {
    if (buffered_ == 0) {
        return;
    }
    if (!ascending()) {
        for (std::int64_t low = 0, high = buffered_ - 1; low < high; ++low, --high) {
            std::swap_ranges(buffer_.data() + low * dim_, buffer_.data() + (low + 1) * dim_,
                             buffer_.data() + high * dim_);
        }
    }
    const std::int64_t first = ascending() ? latest_row_ - buffered_ + 1 : latest_row_;
    sink_(first, buffer_.data(), buffered_);
    buffered_ = 0;
}

}  // namespace mambase::pipelines
