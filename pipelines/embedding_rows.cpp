#include "pipelines/embedding_rows.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Pooled rows that are handed on together.
constexpr std::int64_t kBufferedRows = 1024;

}  // namespace

StrandRows::StrandRows(io::Strand strand,
                       const Pooling& pooling,
                       std::int64_t dim,
                       const io::Tokenizer& tokenizer,
                       Sink sink)
    : strand_(strand),
      pooling_(pooling),
      dim_(dim),
      tokenizer_(tokenizer),
      sink_(std::move(sink)),
      pooled_(static_cast<std::size_t>(dim), 0.0) {}

void StrandRows::take(const HiddenRows& hidden, const RowSpan& span) {
    if (pooling_.how == Pool::none) {
        take_bases(hidden, span);
    } else {
        take_pooled(hidden, span);
    }
}

void StrandRows::take_bases(const HiddenRows& hidden, const RowSpan& span) {
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

void StrandRows::take_pooled(const HiddenRows& hidden, const RowSpan& span) {
    for (std::int64_t i = 0; i < hidden.count; ++i) {
        if (!tokenizer_.is_acgt(hidden.codes[i])) {
            continue;
        }
        const std::int64_t position = strand_ == io::Strand::forward
                                          ? hidden.begin + i
                                          : span.length - 1 - (hidden.begin + i);
        const std::int64_t bin =
            pooling_.is_whole() ? 0 : (position - span.bases.begin) / pooling_.bin;
        const std::int64_t row = span.first_row + bin;
        if (row != row_) {
            end_row();
            row_ = row;
        }
        add(hidden.rows + i * dim_);
    }
}

void StrandRows::add(const float* values) {
    const bool first = count_ == 0;
    ++count_;
    if (pooling_.how == Pool::last || (pooling_.how == Pool::max && first)) {
        std::copy_n(values, dim_, pooled_.begin());
    } else if (pooling_.how == Pool::max) {
        std::transform(
            pooled_.begin(), pooled_.end(), values, pooled_.begin(),
            [](double most, float value) { return std::max(most, static_cast<double>(value)); });
    } else {
        std::transform(pooled_.begin(), pooled_.end(), values, pooled_.begin(),
                       [](double sum, float value) { return sum + static_cast<double>(value); });
    }
}

void StrandRows::end_row() {
    if (count_ == 0) {
        return;
    }
    // Records come in order on either strand, the bins of one from the right on the reverse.
    const std::int64_t step = ascending() ? 1 : -1;
    if (buffered_ == kBufferedRows || (buffered_ > 0 && row_ != latest_row_ + step)) {
        flush();
    }
    buffer_.resize(static_cast<std::size_t>((buffered_ + 1) * dim_));
    const bool sums = pooling_.how == Pool::bins || pooling_.how == Pool::mean;
    const double divisor = sums ? static_cast<double>(count_) : 1.0;
    std::transform(pooled_.begin(), pooled_.end(), buffer_.data() + buffered_ * dim_,
                   [divisor](double value) { return static_cast<float>(value / divisor); });
    ++buffered_;
    latest_row_ = row_;
    std::fill(pooled_.begin(), pooled_.end(), 0.0);
    count_ = 0;
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

void StrandRows::finish() {
    end_row();
    flush();
}

}  // namespace mambase::pipelines
