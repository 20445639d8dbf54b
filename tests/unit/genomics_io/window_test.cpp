#include "genomics_io/window.hpp"

#include "genomics_io/alphabet.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <map>
#include <tuple>

using namespace mambase;
using namespace mambase::io;

namespace {

const Tokenizer& dna() {
    return Tokenizer::named("dna");
}

struct Window {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t score_begin = 0;
    std::int64_t score_end = 0;
    std::vector<std::uint8_t> codes;
    friend bool operator==(const Window&, const Window&) = default;
};

std::vector<std::uint8_t> encoded(const std::string& bases) {
    std::vector<std::uint8_t> codes(bases.size());
    REQUIRE(dna().encode(bases, codes.data()).bad == -1);
    return codes;
}

/// Runs of a whole record, by looking at every position.
std::vector<Interval> oracle_runs(const std::vector<std::uint8_t>& codes, std::int64_t gap) {
    const auto n = static_cast<std::int64_t>(codes.size());
    std::vector<bool> in_gap(codes.size());
    for (std::int64_t i = 0; i < n;) {
        std::int64_t end = i;
        while (end < n && !dna().is_acgt(codes[static_cast<std::size_t>(end)])) {
            ++end;
        }
        for (std::int64_t j = i; end - i >= gap && j < end; ++j) {
            in_gap[static_cast<std::size_t>(j)] = true;
        }
        i = std::max(end, i + 1);
    }
    std::vector<Interval> runs;
    for (std::int64_t i = 0; i < n; ++i) {
        if (in_gap[static_cast<std::size_t>(i)]) {
            continue;
        }
        if (runs.empty() || runs.back().end != i) {
            runs.push_back({i, i});
        }
        runs.back().end = i + 1;
    }
    return runs;
}

/// The definition in window.hpp, position by position, with the whole record in memory.
std::vector<Window> oracle(const std::string& bases, const WindowOptions& options, Interval asked) {
    const std::vector<std::uint8_t> codes = encoded(bases);
    std::vector<Window> windows;
    for (const Interval run : oracle_runs(codes, options.gap)) {
        std::map<std::int64_t, Window> by_reset;
        for (std::int64_t p = run.begin; p < std::min(run.end, asked.end); ++p) {
            std::int64_t reset = run.begin;
            if (options.context > 0 && p - options.context >= 0) {
                const std::int64_t grid = (p - options.context) / options.context * options.context;
                reset = std::max(reset, grid);
            }
            Window& window = by_reset[reset];
            window.begin = reset;
            window.end = p + 1;
            const bool counts = p >= asked.begin;
            window.score_begin = counts && window.score_end == 0 ? p : window.score_begin;
            window.score_end = counts ? p + 1 : window.score_end;
        }
        for (auto& [reset, window] : by_reset) {
            if (options.context > 0 && window.score_end == 0) {
                continue;
            }
            window.codes.assign(codes.begin() + window.begin, codes.begin() + window.end);
            windows.push_back(window);
        }
    }
    return windows;
}

/// Reads everything, puts pieces together, and requires what WindowPiece promises of each.
std::vector<Window> read_windows(WindowReader& reader, const WindowOptions& options) {
    std::vector<Window> windows;
    WindowPiece piece;
    int expected_next = -1;
    bool open = false;
    while (reader.next(piece)) {
        const auto n = static_cast<std::int64_t>(piece.codes.size());
        REQUIRE(n > 0);
        REQUIRE(piece.first == !open);
        REQUIRE(piece.last == (piece.next == -1));
        REQUIRE(n <= (options.context > 0 ? 2 * options.context : options.piece));
        if (options.context > 0) {
            REQUIRE((piece.first && piece.last && piece.score_begin < piece.score_end));
        }
        REQUIRE(piece.score_begin <= piece.score_end);
        REQUIRE(piece.score_end <= piece.begin + n + (piece.last ? 0 : 1));
        if (piece.first) {
            windows.push_back({piece.begin, piece.begin, 0, 0, {}});
        } else {
            REQUIRE(piece.codes.front() == expected_next);
        }
        Window& window = windows.back();
        REQUIRE(window.end == piece.begin);
        window.end += n;
        window.codes.insert(window.codes.end(), piece.codes.begin(), piece.codes.end());
        if (piece.score_begin < piece.score_end) {
            window.score_begin = window.score_end == 0 ? piece.score_begin : window.score_begin;
            window.score_end = piece.score_end;
        }
        expected_next = piece.next;
        open = !piece.last;
    }
    REQUIRE_FALSE(open);
    REQUIRE_FALSE(reader.next(piece));
    return windows;
}

std::unique_ptr<test::MemorySource> part_of(const std::string& bases,
                                            Interval part,
                                            std::uint32_t seed,
                                            std::size_t largest) {
    std::vector<test::Record> records{{"r", bases.substr(static_cast<std::size_t>(part.begin),
                                                         static_cast<std::size_t>(part.size()))}};
    return std::make_unique<test::MemorySource>(std::move(records), seed, largest, part.begin);
}

}  // namespace

TEST_CASE("windows are those of the definition, for any record, interval and segment size") {
    const std::uint32_t seed = GENERATE(range(0U, 1500U));
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    WindowOptions options;
    options.gap = static_cast<std::int64_t>(1 + below(20));
    options.context = below(3) == 0 ? 0 : static_cast<std::int64_t>(1 + below(64));
    options.piece = static_cast<std::int64_t>(1 + below(40));
    const std::string bases =
        test::random_bases(random, below(600), static_cast<std::size_t>(options.gap));
    const auto length = static_cast<std::int64_t>(bases.size());
    const std::size_t largest = 1 + below(below(2) == 0 ? 4 : 400);

    SECTION("the whole record") {
        WindowReader reader(part_of(bases, {0, length}, seed, largest), dna(), options,
                            Strand::forward);
        CHECK(read_windows(reader, options) == oracle(bases, options, {0, length}));
        const auto summaries = reader.take_summaries();
        REQUIRE(summaries.size() == 1);
        std::int64_t in_runs = 0;
        for (const Interval run : oracle_runs(encoded(bases), options.gap)) {
            in_runs += run.size();
        }
        CHECK(summaries[0].in_gaps == length - in_runs);
        CHECK(summaries[0].length == length);
    }
    SECTION("an interval, from all of the record and from what read_interval says") {
        const auto begin = static_cast<std::int64_t>(below(bases.size() + 1));
        const auto size = static_cast<std::int64_t>(below(bases.size() + 1));
        const Interval asked{begin, std::min(length, begin + size)};
        const std::vector<Window> expected = oracle(bases, options, asked);
        WindowReader whole(part_of(bases, {0, length}, seed, largest), dna(), options,
                           Strand::reverse, asked);
        CHECK(read_windows(whole, options) == expected);
        const Interval part = read_interval(asked.begin, asked.end, length, options);
        CHECK(part.begin >= 0);
        CHECK(part.end <= length);
        if (options.context > 0) {
            CHECK(part.size() <= asked.size() + 2 * options.context + 2 * options.gap);
        }
        WindowReader reader(part_of(bases, part, seed, largest), dna(), options, Strand::reverse,
                            asked);
        CHECK(read_windows(reader, options) == expected);
    }
}

TEST_CASE("windows of several records carry their origin, and summaries come in order") {
    std::vector<test::Record> records{
        {"a", "ACGTNNacgtR"}, {"none", ""}, {"N", "NNNNNNNN"}, {"b", "ryAC"}};
    WindowOptions options;
    options.gap = 4;
    options.context = 100;
    WindowReader reader(std::make_unique<test::MemorySource>(records, 1, 3), dna(), options,
                        Strand::forward);
    WindowPiece piece;
    REQUIRE(reader.next(piece));
    CHECK(*piece.name == "a");
    CHECK(piece.record == 0);
    CHECK(piece.codes.size() == 11);
    REQUIRE(reader.next(piece));
    CHECK(*piece.name == "b");
    CHECK(piece.record == 3);
    CHECK(piece.codes.size() == 4);
    CHECK_FALSE(reader.next(piece));
    const auto summaries = reader.take_summaries();
    REQUIRE(summaries.size() == 4);
    CHECK(summaries[0].name == "a");
    CHECK(summaries[0].acgt == 8);
    CHECK(summaries[0].ambiguous == 1);
    CHECK(summaries[0].soft_masked == 4);
    CHECK(summaries[0].in_gaps == 0);
    CHECK(summaries[1].length == 0);
    CHECK(summaries[2].in_gaps == 8);
    CHECK(summaries[3].ambiguous == 2);
    CHECK(reader.take_summaries().empty());
}

TEST_CASE("a letter that is no nucleotide is an error with its place") {
    const auto read = [](std::string bases, Strand strand) {
        return test::error_of([&] {
            WindowReader reader(std::make_unique<test::MemorySource>(
                                    std::vector<test::Record>{{"c:1", bases}}, 1, 3),
                                dna(), {}, strand);
            WindowPiece piece;
            while (reader.next(piece)) {
            }
        });
    };
    CHECK(read("ACGTA*T", Strand::forward) ==
          "format: memory.fa: record 0 (c:1): '*' is not a nucleotide code, at {c:1}:6-6");
    CHECK(read("ACGTA-T", Strand::reverse) ==
          "format: memory.fa: record 0 (c:1): '-' is not a nucleotide code, at base 6 from the "
          "record's end");
    CHECK(read("MKL", Strand::forward) ==
          "format: memory.fa: record 0 (c:1): 'L' is not a nucleotide code (is this protein?), at "
          "{c:1}:3-3");
    CHECK(read(std::string("A\0", 2), Strand::forward) ==
          "format: memory.fa: record 0 (c:1): byte 0x00 is not a nucleotide code, at {c:1}:2-2");
    CHECK(read("A1", Strand::forward) ==
          "format: memory.fa: record 0 (c:1): '1' is not a nucleotide code, at {c:1}:2-2");
}

TEST_CASE("window options are checked") {
    const auto check = [](WindowOptions options) {
        return test::error_of([&] { options.validate(); });
    };
    CHECK(check({}) == "no error");
    CHECK(check({-1, 1000, 1}) == "usage: context has to be between 0 (whole) and 2^40");
    CHECK(check({0, 0, 1}) == "usage: gap has to be at least 1");
    CHECK(check({0, 1, 0}) == "usage: piece has to be at least 1");
}

namespace {

/// A record of any length, whose bases are made as they are asked for: 100 kb of sequence, then a
/// gap of 5 kb, and so on.
class EndlessSource final : public SequenceSource {
  public:
    explicit EndlessSource(std::int64_t length) : length_(length) {
        std::mt19937 random(7);
        for (std::size_t i = 0; i < pattern_.size(); ++i) {
            pattern_[i] = i >= 100000 ? 'N' : "ACGT"[random() % 4];
        }
    }
    bool next(Segment& segment) override {
        if (position_ == length_) {
            return false;
        }
        const auto n = std::min<std::int64_t>(kPeriod, length_ - position_);
        segment = {0,         "endless",
                   position_, std::span(pattern_).first(static_cast<std::size_t>(n)),
                   false,     false};
        segment.first = position_ == 0;
        position_ += n;
        segment.last = position_ == length_;
        return true;
    }
    const std::string& path() const override { return path_; }

    static constexpr std::int64_t kPeriod = 105000;

  private:
    std::string path_ = "endless.fa";
    std::int64_t length_;
    std::int64_t position_ = 0;
    std::vector<char> pattern_ = std::vector<char>(kPeriod);
};

}  // namespace

TEST_CASE("positions past 2^31 and 2^32 are right", "[.slow]") {
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{8192});
    const std::int64_t length = (std::int64_t{1} << 32) + 1234567;
    WindowOptions options;
    options.context = context;
    WindowReader reader(std::make_unique<EndlessSource>(length), dna(), options, Strand::forward);
    WindowPiece piece;
    std::int64_t scored = 0;
    while (reader.next(piece)) {
        const std::int64_t end = piece.begin + static_cast<std::int64_t>(piece.codes.size());
        REQUIRE(piece.begin % EndlessSource::kPeriod < 100000);
        if (piece.first && context == 0) {
            REQUIRE(piece.begin % EndlessSource::kPeriod == 0);
        }
        scored += std::min(piece.score_end, end) - std::max(piece.score_begin, piece.begin);
        if (context == 0) {
            REQUIRE(piece.score_end == end + (piece.last ? 0 : 1));
            REQUIRE(piece.score_begin <= piece.begin);
        }
    }
    const std::int64_t last = std::min<std::int64_t>(length % EndlessSource::kPeriod, 100000);
    CHECK(scored == length / EndlessSource::kPeriod * 100000 + last);
    const auto summaries = reader.take_summaries();
    REQUIRE(summaries.size() == 1);
    CHECK(summaries[0].length == length);
    CHECK(summaries[0].acgt == scored);
    CHECK(summaries[0].in_gaps == length - scored);
}
