#include "pipelines/embedding_rows.hpp"

#include "base/checked_math.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Rows of bins that are handed on together.
constexpr std::int64_t kBufferedRows = 1024;

}  // namespace

std::int64_t RowSpan::rows(std::int64_t bin) const {
    return bin == 0 ? bases.size() : ceil_div(bases.size(), bin);
}

StrandRows::StrandRows(io::Strand strand,
                       std::int64_t bin,
                       std::int64_t dim,
                       const io::Tokenizer& tokenizer,
                       Sink sink)
    : strand_(strand),
      bin_(bin),
      dim_(dim),
      tokenizer_(tokenizer),
      sink_(std::move(sink)),
      sum_(static_cast<std::size_t>(dim), 0.0) {}

void StrandRows::take(const HiddenRows& hidden, const RowSpan& span) {
    if (bin_ == 0) {
        take_bases(hidden, span);
    } else {
        take_bins(hidden, span);
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

void StrandRows::take_bins(const HiddenRows& hidden, const RowSpan& span) {
    for (std::int64_t i = 0; i < hidden.count; ++i) {
        if (!tokenizer_.is_acgt(hidden.codes[i])) {
            continue;
        }
        const std::int64_t position = strand_ == io::Strand::forward
                                          ? hidden.begin + i
                                          : span.length - 1 - (hidden.begin + i);
        const std::int64_t row = span.first_row + (position - span.bases.begin) / bin_;
        if (row != bin_row_) {
            end_bin();
            bin_row_ = row;
        }
        const float* const values = hidden.rows + i * dim_;
        std::transform(sum_.begin(), sum_.end(), values, sum_.begin(),
                       [](double sum, float value) { return sum + static_cast<double>(value); });
        ++summed_;
    }
}

void StrandRows::end_bin() {
    if (summed_ == 0) {
        return;
    }
    const std::int64_t step = strand_ == io::Strand::forward ? 1 : -1;
    if (buffered_ == kBufferedRows || (buffered_ > 0 && bin_row_ != latest_row_ + step)) {
        flush();
    }
    buffer_.resize(static_cast<std::size_t>((buffered_ + 1) * dim_));
    const auto count = static_cast<double>(summed_);
    std::transform(sum_.begin(), sum_.end(), buffer_.data() + buffered_ * dim_,
                   [count](double sum) { return static_cast<float>(sum / count); });
    ++buffered_;
    latest_row_ = bin_row_;
    std::fill(sum_.begin(), sum_.end(), 0.0);
    summed_ = 0;
}

void StrandRows::flush() {
    if (buffered_ == 0) {
        return;
    }
    if (strand_ == io::Strand::reverse) {
        for (std::int64_t low = 0, high = buffered_ - 1; low < high; ++low, --high) {
            std::swap_ranges(buffer_.data() + low * dim_, buffer_.data() + (low + 1) * dim_,
                             buffer_.data() + high * dim_);
        }
    }
    const std::int64_t first =
        strand_ == io::Strand::forward ? latest_row_ - buffered_ + 1 : latest_row_;
    sink_(first, buffer_.data(), buffered_);
    buffered_ = 0;
}

void StrandRows::finish() {
    end_bin();
    flush();
}

}  // namespace mambase::pipelines
