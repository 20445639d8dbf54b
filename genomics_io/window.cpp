#include "genomics_io/window.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/run_scanner.hpp"
#include "genomics_io/segment_encoder.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace mambase::io {

namespace {

constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kBlockCodes = std::size_t{1} << 15;  // encoded at a time

/// The codes of a run from some position on; what is no longer needed is dropped from the front.
class RunBuffer {
  public:
    void restart(std::int64_t begin) {
        codes_.clear();
        head_ = 0;
        begin_ = begin;
    }
    void append(std::span<const std::uint8_t> codes) {
        codes_.insert(codes_.end(), codes.begin(), codes.end());
    }
    void drop_before(std::int64_t position) {
        const std::int64_t n = std::min(position - begin_, size());
        if (n <= 0) {
            return;
        }
        head_ += static_cast<std::size_t>(n);
        begin_ += n;
        if (head_ >= kBlockCodes && head_ * 2 >= codes_.size()) {  // moves each code once or less
            codes_.erase(codes_.begin(), codes_.begin() + static_cast<std::ptrdiff_t>(head_));
            head_ = 0;
        }
    }
    std::uint8_t at(std::int64_t position) const {
        return codes_[head_ + static_cast<std::size_t>(position - begin_)];
    }
    void copy(std::int64_t begin, std::int64_t end, std::vector<std::uint8_t>& out) const {
        MAMBASE_ASSERT(begin >= begin_ && end <= begin_ + size());
        const auto first = codes_.begin() + static_cast<std::ptrdiff_t>(head_) + (begin - begin_);
        out.assign(first, first + (end - begin));
    }

  private:
    std::int64_t size() const { return static_cast<std::int64_t>(codes_.size() - head_); }

    std::vector<std::uint8_t> codes_;
    std::size_t head_ = 0;
    std::int64_t begin_ = 0;  // position of codes_[head_]
};

}  // namespace

void WindowOptions::validate() const {
    MAMBASE_REQUIRE(context >= 0 && context <= std::int64_t{1} << 40, ErrorCode::usage,
                    "context has to be between 0 (whole) and 2^40");
    MAMBASE_REQUIRE(gap >= 1, ErrorCode::usage, "gap has to be at least 1");
    MAMBASE_REQUIRE(piece >= 1, ErrorCode::usage, "piece has to be at least 1");
}

struct WindowReader::State {
    State(std::unique_ptr<SequenceSource> from,
          const Tokenizer& with,
          const WindowOptions& as,
          Strand on,
          Interval interval)
        : source(std::move(from)),
          tokenizer(with),
          options(as),
          strand(on),
          asked(interval),
          scanner(with, as.gap) {}

    std::unique_ptr<SequenceSource> source;
    const Tokenizer& tokenizer;
    WindowOptions options;
    Strand strand;
    Interval asked;

    Segment segment;
    std::size_t segment_at = 0;  // bases of it that are encoded
    std::vector<std::uint8_t> block;
    std::size_t block_at = 0;  // codes of it that are scanned
    bool in_record = false;
    std::shared_ptr<const std::string> name;
    RecordSummary summary;
    std::vector<RecordSummary> summaries;

    RunScanner scanner;
    RunBuffer buffer;
    Interval score;  // of the record
    // The next window: its reset, the first position that it scores, and its end on the grid.
    std::int64_t reset = 0;
    std::int64_t score_from = 0;
    std::int64_t grid_end = kEndless;

    bool advance();
    void begin_record();
    void start_window(std::int64_t run_begin);
    void encode_block();
    void scan_block();
    void end_run();
    void end_record();
    bool emit(WindowPiece& piece);
    bool emit_window(WindowPiece& piece);
    bool emit_part(WindowPiece& piece);
    void fill(WindowPiece& piece, std::int64_t begin, std::int64_t end) const;
};

/// One step of reading; false at the end of the source.
bool WindowReader::State::advance() {
    if (scanner.in_run() && scanner.ended()) {  // and all its windows are out
        scanner.leave_run();
    } else if (block_at < block.size()) {
        scan_block();
    } else if (segment_at < segment.bases.size()) {
        encode_block();
    } else if (in_record && segment.last) {
        end_record();
    } else {
        segment_at = 0;
        if (!source->next(segment)) {
            segment = {};
            return false;
        }
        if (segment.first) {
            begin_record();
        }
    }
    return true;
}

void WindowReader::State::begin_record() {
    in_record = true;
    name = std::make_shared<const std::string>(segment.name);
    summary = {};
    summary.record = segment.record;
    summary.name = *name;
    score = segment.circle == 0 ? asked
                                : Interval{std::max(asked.begin, std::int64_t{0}),
                                           std::min(asked.end, segment.circle)};
    scanner.start(segment.start);
    start_window(segment.start);
}

/// The first one of a run.
void WindowReader::State::start_window(std::int64_t run_begin) {
    buffer.restart(run_begin);
    reset = score_from = run_begin;
    const std::int64_t n = options.context;
    grid_end = n == 0 ? kEndless : (floor_div(run_begin, n) + 2) * n;
}

void WindowReader::State::encode_block() {
    const std::size_t n = std::min(kBlockCodes, segment.bases.size() - segment_at);
    block.resize(n);
    const bool counts =
        segment.circle == 0 || (segment.start >= 0 && segment.start < segment.circle);
    RecordSummary unused;
    encode_segment(tokenizer, source->path(), segment, strand, segment_at, n, block.data(),
                   counts ? summary : unused);
    segment_at += n;
    block_at = 0;
}

void WindowReader::State::scan_block() {
    const bool was_in_run = scanner.in_run();
    const std::int64_t from = scanner.position();
    const std::span<const std::uint8_t> codes = std::span(block).subspan(block_at);
    const std::size_t n = scanner.scan(codes);
    block_at += n;
    if (!scanner.in_run()) {
        return;
    }
    const Interval run = scanner.run();
    if (!was_in_run) {
        start_window(run.begin);
    }
    if (score_from < score.end) {
        const auto skipped = static_cast<std::size_t>(std::max(run.begin - from, std::int64_t{0}));
        buffer.append(codes.subspan(skipped, n - skipped));
    }
    if (scanner.ended()) {
        end_run();
    }
}

void WindowReader::State::end_run() {
    Interval run = scanner.run();
    if (segment.circle > 0) {
        run.begin = std::clamp(run.begin, std::int64_t{0}, segment.circle);
        run.end = std::clamp(run.end, std::int64_t{0}, segment.circle);
    }
    summary.in_gaps -= run.size();  // becomes length less all runs
}

void WindowReader::State::end_record() {
    in_record = false;
    if (scanner.in_run()) {
        scanner.finish();
        end_run();
    }
    summary.in_gaps += summary.length;
    summaries.push_back(summary);
}

bool WindowReader::State::emit(WindowPiece& piece) {
    if (!scanner.in_run()) {
        return false;
    }
    return options.context == 0 ? emit_part(piece) : emit_window(piece);
}

/// The next window on the grid of which something counts, once it is decided.
bool WindowReader::State::emit_window(WindowPiece& piece) {
    const std::int64_t run_end = scanner.run().end;
    for (;;) {
        const std::int64_t wanted = std::min(grid_end, score.end);
        const bool ready = scanner.ended() ? score_from < run_end : wanted <= run_end;
        if (score_from >= score.end || !ready) {
            return false;
        }
        const std::int64_t begin = reset;
        const std::int64_t end = std::min(wanted, run_end);
        const std::int64_t score_begin = std::max(score_from, score.begin);
        const bool counts = score_begin < end;
        if (counts) {
            fill(piece, begin, end);
            piece.window_begin = begin;
            piece.first = piece.last = true;
            piece.score_begin = score_begin;
            piece.score_end = end;
            piece.next = -1;
        }
        score_from = grid_end;
        reset = grid_end - options.context;
        grid_end += options.context;
        buffer.drop_before(reset);
        if (counts) {
            return true;
        }
    }
}

/// The next piece of a window that is a whole run, once it is decided whether more follows.
bool WindowReader::State::emit_part(WindowPiece& piece) {
    const Interval run = scanner.run();
    const std::int64_t known_end = std::min(run.end, score.end);
    const bool closing = scanner.ended() || run.end >= score.end;
    const std::int64_t begin = score_from;
    if (begin >= known_end || (!closing && known_end - begin <= options.piece)) {
        return false;
    }
    const std::int64_t end = std::min(known_end, begin + options.piece);
    fill(piece, begin, end);
    piece.window_begin = run.begin;
    piece.first = begin == run.begin;
    piece.last = closing && end == known_end;
    piece.next = piece.last ? -1 : buffer.at(end);
    piece.score_end = end + (piece.last ? 0 : 1);
    piece.score_begin = std::min(std::max(run.begin, score.begin), piece.score_end);
    score_from = end;
    buffer.drop_before(end);
    return true;
}

void WindowReader::State::fill(WindowPiece& piece, std::int64_t begin, std::int64_t end) const {
    piece.record = summary.record;
    piece.name = name;
    piece.strand = strand;
    piece.begin = begin;
    buffer.copy(begin, end, piece.codes);
}

WindowReader::WindowReader(std::unique_ptr<SequenceSource> source,
                           const Tokenizer& tokenizer,
                           const WindowOptions& options,
                           Strand strand,
                           std::optional<Interval> score) {
    options.validate();
    state_ = std::make_unique<State>(std::move(source), tokenizer, options, strand,
                                     score.value_or(Interval{0, kEndless}));
}

WindowReader::~WindowReader() = default;

bool WindowReader::next(WindowPiece& piece) {
    do {
        if (state_->emit(piece)) {
            return true;
        }
    } while (state_->advance());
    return false;
}

std::vector<RecordSummary> WindowReader::take_summaries() {
    return std::exchange(state_->summaries, {});
}

Skipped WindowReader::skipped() const {
    return state_->source->skipped();
}

Interval read_interval(std::int64_t score_begin,
                       std::int64_t score_end,
                       std::int64_t record_length,
                       const WindowOptions& options,
                       bool is_circle) {
    options.validate();
    const std::int64_t n = options.context;
    if (is_circle) {
        // Who looks one turn on has seen every base.
        const std::int64_t gap = std::min(options.gap, record_length);
        const std::int64_t begin =
            n == 0 ? -record_length : (floor_div(score_begin, n) - 1) * n - gap;
        return {begin, score_end + gap};
    }
    const std::int64_t reset = n == 0 ? 0 : std::max<std::int64_t>(0, (score_begin / n - 1) * n);
    return {
        std::max<std::int64_t>(0, reset - options.gap),
        std::min(record_length, score_end > record_length - options.gap ? record_length
                                                                        : score_end + options.gap)};
}

}  // namespace mambase::io
