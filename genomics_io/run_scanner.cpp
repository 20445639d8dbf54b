#include "genomics_io/run_scanner.hpp"

#include "base/error.hpp"

namespace mambase::io {

void RunScanner::start(std::int64_t position) {
    state_ = State::run;
    position_ = position;
    run_begin_ = position;
    pending_ = 0;
}

std::size_t RunScanner::scan(std::span<const std::uint8_t> codes) {
    MAMBASE_ASSERT(!ended());
    const std::size_t n = codes.size();
    std::size_t judged = 0;
    if (state_ == State::gap) {
        while (judged < n && !tokenizer_->is_acgt(codes[judged])) {
            ++judged;
        }
        position_ += static_cast<std::int64_t>(judged);
        if (judged == n) {
            return n;
        }
        state_ = State::run;
        run_begin_ = position_;
        pending_ = 0;
    }
    for (;;) {
        // Only where a gap would be complete is there anything to see: walk back from there to the
        // last base, and the codes behind it are all that can still belong to a gap.
        const auto missing = static_cast<std::size_t>(gap_ - pending_);
        const bool whole = n - judged >= missing;
        const std::size_t probe = whole ? judged + missing : n;
        std::size_t bases_end = probe;
        while (bases_end > judged && !tokenizer_->is_acgt(codes[bases_end - 1])) {
            --bases_end;
        }
        const auto unknown = static_cast<std::int64_t>(probe - bases_end);
        pending_ = bases_end == judged ? pending_ + unknown : unknown;
        position_ += static_cast<std::int64_t>(probe - judged);
        judged = probe;
        if (pending_ == gap_) {
            state_ = State::ended;
            return judged;
        }
        if (!whole) {
            return n;
        }
    }
}

void RunScanner::finish() {
    if (state_ == State::run) {
        pending_ = 0;
        state_ = State::ended;
    }
}

std::vector<Interval> find_runs(std::span<const std::uint8_t> codes,
                                const Tokenizer& tokenizer,
                                std::int64_t gap) {
    std::vector<Interval> runs;
    RunScanner scanner(tokenizer, gap);
    const auto leave = [&] {
        if (scanner.run().size() > 0) {
            runs.push_back(scanner.run());
        }
        scanner.leave_run();
    };
    scanner.start(0);
    while (!codes.empty()) {
        codes = codes.subspan(scanner.scan(codes));
        if (scanner.ended()) {
            leave();
        }
    }
    scanner.finish();
    if (scanner.ended()) {
        leave();
    }
    return runs;
}

}  // namespace mambase::io
