// From the logits of either strand to a value for each base, in ascending order.
#pragma once

#include "base/thread_pool.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/row_spool.hpp"
#include "pipelines/score.hpp"
#include "pipelines/score_files.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace mambase::pipelines {

/// Of A, C, G, T.
using LetterLogits = std::array<double, 4>;
using LetterCounts = std::array<std::int64_t, 4>;

/// The value of a base (0 … 3 for A, C, G, T), in nats. Probabilities are the softmax of the
/// logits, in an order of additions that is the same for the complement.
double score_of(ScoreWhat what, const LetterLogits& logits, int base);

/// log p(letter), of counts with one added to each.
LetterLogits log_composition(const LetterCounts& counts);

/// Counts of A, C, G, T by record: `add(record, counts)` for each segment.
void count_letters(io::SequenceSource& source,
                   const io::Tokenizer& tokenizer,
                   const std::function<void(std::int64_t, const LetterCounts&)>& add);

/// What the reverse strand says of the bases of some spans: rows in forward coordinates.
class ReverseScores {
  public:
    ReverseScores(std::int64_t bases, const io::Tokenizer& tokenizer);
    /// Under TMPDIR.
    static std::int64_t bytes(std::int64_t bases);

    /// `span`: of the rows' tag.
    void take(const LossRows& rows, std::int64_t vocabulary, const RowSpan& span);

    struct Row {
        std::array<float, 4> logits{};  // of A, C, G, T on the forward strand
        float base = 0.0F;  // 1 … 4: which of them is there; 0: nothing was predicted here
    };
    /// rows[n], from the row of a base on.
    void read(std::int64_t row, Row* rows, std::int64_t n) const;

  private:
    const io::Tokenizer& tokenizer_;
    RowSpool spool_;
    std::vector<Row> buffer_;
};

/// Means over bins of `width` bases, handed on; a width of 1 hands on the values.
class Bins {
  public:
    Bins(ScoreSink& sink, std::int64_t width) : sink_(sink), width_(width) {}

    /// What comes is of this part, which has whole bins.
    void open(const RowSpan& part);
    /// Ascending within a part.
    void add(std::int64_t position, double value);
    void finish();

    std::int64_t scored() const { return scored_; }
    std::int64_t values() const { return values_; }
    double sum() const { return sum_; }

  private:
    void end_bin();
    void flush();

    ScoreSink& sink_;
    std::int64_t width_;
    std::int64_t bin_ = -1;  // the one being added up
    double bin_sum_ = 0.0;
    std::int64_t count_ = 0;  // bases in it
    std::int64_t first_bin_ = 0;
    std::vector<float> pending_;  // of consecutive bins
    std::int64_t scored_ = 0;
    std::int64_t values_ = 0;
    double sum_ = 0.0;
};

/// Joins the strands, span by span.
class BaseScores {
  public:
    BaseScores(ScoreWhat what, const io::Tokenizer& tokenizer, ThreadPool& pool, Bins& bins)
        : what_(what), tokenizer_(tokenizer), pool_(pool), bins_(bins) {}

    /// The values that come are of this span. `reverse`: null where that strand does not count;
    /// `composition`: used where both do.
    void begin(const RowSpan& span, const ReverseScores* reverse, const LetterLogits& composition);
    /// Losses of the forward strand, with logits.
    void take(const LossRows& rows, std::int64_t vocabulary);
    /// The rest of the span, of which the forward strand said nothing.
    void end();

  private:
    struct Base {
        LetterLogits logits{};
        int base = -1;  // not scored
        double value = 0.0;
    };

    void reverse_alone(std::int64_t until);
    void hand_on(std::int64_t begin);

    ScoreWhat what_;
    const io::Tokenizer& tokenizer_;
    ThreadPool& pool_;
    Bins& bins_;
    const RowSpan* span_ = nullptr;
    const ReverseScores* reverse_ = nullptr;
    LetterLogits composition_{};
    std::int64_t next_ = 0;  // position that is not done
    std::vector<ReverseScores::Row> rows_;
    std::vector<Base> bases_;
};

}  // namespace mambase::pipelines
