#include "pipelines/base_scores.hpp"

#include "base/checked_math.hpp"
#include "genomics_io/segment_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace mambase::pipelines {

namespace {

/// Bases of the reverse strand alone that are looked at together.
constexpr std::int64_t kBlock = std::int64_t{1} << 16;
/// Values that are handed on together.
constexpr std::size_t kPending = std::size_t{1} << 14;
/// Bases of a task.
constexpr std::int64_t kTask = 1024;

constexpr std::int64_t kRowNumbers = sizeof(ReverseScores::Row) / sizeof(float);

/// 0 … 3 for a code of A, C, G, T, else -1; the soft-mask bit may be set.
int letter_index(const std::array<std::uint8_t, 4>& acgt, std::uint8_t code) {
    const auto id = static_cast<std::uint8_t>(code & ~io::kSoftMask);
    const auto at = std::find(acgt.begin(), acgt.end(), id);
    return at == acgt.end() ? -1 : static_cast<int>(at - acgt.begin());
}

double sum(const std::array<double, 4>& of) {
    return (of[0] + of[3]) + (of[1] + of[2]);  // the complement adds the same pairs
}

}  // namespace

double score_of(ScoreWhat what, const LetterLogits& logits, int base) {
    const double most = *std::max_element(logits.begin(), logits.end());
    std::array<double, 4> p{};
    for (std::size_t i = 0; i < 4; ++i) {
        p[i] = std::exp(logits[i] - most);
    }
    const double all = sum(p);
    if (what == ScoreWhat::logp) {
        return logits[static_cast<std::size_t>(base)] - most - std::log(all);
    }
    std::array<double, 4> weighted{};
    for (std::size_t i = 0; i < 4; ++i) {
        weighted[i] = p[i] * (logits[i] - most);
    }
    return std::log(all) - sum(weighted) / all;
}

LetterLogits log_composition(const LetterCounts& counts) {
    double all = 0.0;
    for (const std::int64_t n : counts) {
        all += static_cast<double>(n + 1);
    }
    LetterLogits out{};
    std::transform(counts.begin(), counts.end(), out.begin(),
                   [all](std::int64_t n) { return std::log(static_cast<double>(n + 1) / all); });
    return out;
}

void count_letters(io::SequenceSource& source,
                   const io::Tokenizer& tokenizer,
                   const std::function<void(std::int64_t, const LetterCounts&)>& add) {
    const std::array<std::uint8_t, 4> acgt = tokenizer.acgt();
    std::vector<std::uint8_t> codes;
    io::Segment segment;
    io::RecordSummary unused;
    while (source.next(segment)) {
        codes.resize(segment.bases.size());
        io::encode_segment(tokenizer, source.path(), segment, io::Strand::forward, 0,
                           segment.bases.size(), codes.data(), unused);
        std::array<std::int64_t, 256> seen{};
        for (const std::uint8_t code : codes) {
            ++seen[code];
        }
        LetterCounts counts{};
        for (std::size_t i = 0; i < 4; ++i) {
            counts[i] = seen[acgt[i]] + seen[acgt[i] | io::kSoftMask];
        }
        add(segment.record, counts);
    }
}

ReverseScores::ReverseScores(std::int64_t bases, const io::Tokenizer& tokenizer)
    : tokenizer_(tokenizer), spool_(bases, kRowNumbers) {}

std::int64_t ReverseScores::bytes(std::int64_t bases) {
    return RowSpool::bytes(bases, kRowNumbers);
}

void ReverseScores::take(const LossRows& rows, std::int64_t vocabulary, const RowSpan& span) {
    const std::array<std::uint8_t, 4> acgt = tokenizer_.acgt();
    buffer_.assign(static_cast<std::size_t>(rows.count), Row{});
    for (std::int64_t i = 0; i < rows.count; ++i) {
        if (rows.scored[i] == 0.0F) {
            continue;
        }
        Row& row = buffer_[static_cast<std::size_t>(rows.count - 1 - i)];
        const float* logits = rows.logits + i * vocabulary;
        for (std::size_t letter = 0; letter < 4; ++letter) {
            row.logits[letter] = logits[acgt[3 - letter]];
        }
        row.base = static_cast<float>(4 - letter_index(acgt, rows.codes[i]));
    }
    const io::Interval bases = io::mirrored({rows.begin, rows.begin + rows.count}, span.length);
    spool_.write(span.first_row + bases.begin - span.bases.begin,
                 reinterpret_cast<const float*>(buffer_.data()), rows.count);
}

void ReverseScores::read(std::int64_t row, Row* rows, std::int64_t n) const {
    spool_.read(row, reinterpret_cast<float*>(rows), n);
}

void Bins::open(const RowSpan& part) {
    end_bin();
    flush();
    bin_ = -1;
    sink_.open(part);
}

void Bins::add(std::int64_t position, double value) {
    const std::int64_t bin = position / width_;
    if (bin != bin_) {
        end_bin();
        bin_ = bin;
    }
    bin_sum_ += value;
    ++count_;
    sum_ += value;
    ++scored_;
}

void Bins::end_bin() {
    if (count_ == 0) {
        return;
    }
    const bool follows = bin_ == first_bin_ + static_cast<std::int64_t>(pending_.size());
    if (!follows || pending_.size() == kPending) {
        flush();
    }
    if (pending_.empty()) {
        first_bin_ = bin_;
    }
    pending_.push_back(static_cast<float>(bin_sum_ / static_cast<double>(count_)));
    bin_sum_ = 0.0;
    count_ = 0;
    ++values_;
}

void Bins::flush() {
    if (!pending_.empty()) {
        sink_.values(first_bin_ * width_, pending_);
        pending_.clear();
    }
}

void Bins::finish() {
    end_bin();
    flush();
}

void BaseScores::begin(const RowSpan& span,
                       const ReverseScores* reverse,
                       const LetterLogits& composition) {
    span_ = &span;
    reverse_ = reverse;
    composition_ = composition;
    next_ = span.bases.begin;
}

void BaseScores::take(const LossRows& rows, std::int64_t vocabulary) {
    reverse_alone(rows.begin);
    const std::array<std::uint8_t, 4> acgt = tokenizer_.acgt();
    if (reverse_ != nullptr) {
        rows_.resize(static_cast<std::size_t>(rows.count));
        reverse_->read(span_->first_row + rows.begin - span_->bases.begin, rows_.data(),
                       rows.count);
    }
    bases_.assign(static_cast<std::size_t>(rows.count), Base{});
    for (std::int64_t i = 0; i < rows.count; ++i) {
        Base& base = bases_[static_cast<std::size_t>(i)];
        if (rows.scored[i] == 0.0F) {
            continue;
        }
        base.base = letter_index(acgt, rows.codes[i]);
        const float* logits = rows.logits + i * vocabulary;
        for (std::size_t letter = 0; letter < 4; ++letter) {
            base.logits[letter] = static_cast<double>(logits[acgt[letter]]);
        }
        if (reverse_ == nullptr) {
            continue;
        }
        const ReverseScores::Row& row = rows_[static_cast<std::size_t>(i)];
        for (std::size_t letter = 0; row.base > 0.0F && letter < 4; ++letter) {
            const double both = base.logits[letter] + static_cast<double>(row.logits[letter]);
            base.logits[letter] = both - composition_[letter];  // the same on the other strand
        }
    }
    hand_on(rows.begin);
}

void BaseScores::end() {
    reverse_alone(span_->bases.end);
}

void BaseScores::reverse_alone(std::int64_t until) {
    while (reverse_ != nullptr && next_ < until) {
        const std::int64_t n = std::min(kBlock, until - next_);
        rows_.resize(static_cast<std::size_t>(n));
        reverse_->read(span_->first_row + next_ - span_->bases.begin, rows_.data(), n);
        bases_.assign(static_cast<std::size_t>(n), Base{});
        std::transform(rows_.begin(), rows_.end(), bases_.begin(),
                       [](const ReverseScores::Row& row) {
                           Base base;
                           base.base = static_cast<int>(row.base) - 1;
                           std::copy(row.logits.begin(), row.logits.end(), base.logits.begin());
                           return base;
                       });
        hand_on(next_);
    }
    next_ = std::max(next_, until);
}

void BaseScores::hand_on(std::int64_t begin) {
    const auto count = static_cast<std::int64_t>(bases_.size());
    pool_.parallel_for(ceil_div(count, kTask), [&](std::int64_t task) {
        const std::int64_t last = std::min((task + 1) * kTask, count);
        for (std::int64_t i = task * kTask; i < last; ++i) {
            Base& base = bases_[static_cast<std::size_t>(i)];
            if (base.base >= 0) {
                base.value = score_of(what_, base.logits, base.base);
            }
        }
    });
    for (std::int64_t i = 0; i < count; ++i) {
        const Base& base = bases_[static_cast<std::size_t>(i)];
        if (base.base >= 0) {
            bins_.add(begin + i, base.value);
        }
    }
    next_ = begin + count;
}

}  // namespace mambase::pipelines
