#include "genomics_io/circular.hpp"

#include "base/checked_math.hpp"
#include "genomics_io/tokenizer.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::io;

namespace {

const Tokenizer& dna() {
    return Tokenizer::named("dna");
}

/// begin, codes, first, last, score_begin, score_end, next; coordinates less `origin`.
using Piece = std::
    tuple<std::int64_t, std::vector<std::uint8_t>, bool, bool, std::int64_t, std::int64_t, int>;

std::vector<Piece> pieces_of(WindowReader& reader, std::int64_t origin = 0) {
    std::vector<Piece> out;
    WindowPiece piece;
    while (reader.next(piece)) {
        out.emplace_back(piece.begin - origin, piece.codes, piece.first, piece.last,
                         piece.score_begin - origin, piece.score_end - origin, piece.next);
    }
    return out;
}

std::string turns(const std::string& bases, std::int64_t count) {
    std::string out;
    for (std::int64_t i = 0; i < count; ++i) {
        out += bases;
    }
    return out;
}

std::unique_ptr<SequenceSource> record(const std::string& bases, std::size_t largest) {
    return std::make_unique<test::MemorySource>(std::vector<test::Record>{{"r", bases}}, 1,
                                                largest);
}

std::unique_ptr<SequenceSource> round_of(const std::string& bases,
                                         std::size_t largest,
                                         Interval asked) {
    return read_round(
        [bases, largest](Interval part) {
            return record(bases.substr(static_cast<std::size_t>(part.begin),
                                       static_cast<std::size_t>(part.size())),
                          largest);
        },
        static_cast<std::int64_t>(bases.size()), asked);
}

}  // namespace

TEST_CASE("a circle is read as an endless line of its turns") {
    const std::uint32_t seed = GENERATE(range(0U, 600U));
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % n); };
    WindowOptions options;
    options.gap = 1 + below(20);
    options.context = below(4) == 0 ? 0 : 1 + below(24);
    options.piece = 1 + below(40);
    const std::string bases = test::random_bases(random, static_cast<std::size_t>(below(60)),
                                                 static_cast<std::size_t>(options.gap)) +
                              "a";
    const auto length = static_cast<std::int64_t>(bases.size());
    const auto largest = static_cast<std::size_t>(1 + below(30));
    Interval asked{below(length), 0};
    asked.end = asked.begin + 1 + below(length - asked.begin);
    const bool whole = below(2) == 0;
    asked = whole ? Interval{0, length} : asked;
    CAPTURE(options.gap, options.context, bases, asked.begin, asked.end);

    // Whole turns before, as many as the grid divides; with context 0 one. What follows shows gaps.
    const std::int64_t before = options.context == 0 ? 1 : 2 * options.context;
    const std::int64_t after = 1 + ceil_div(options.gap, length);
    const std::int64_t origin = before * length;
    WindowReader line(record(turns(bases, before + 1 + after), largest), dna(), options,
                      Strand::forward, Interval{origin + asked.begin, origin + asked.end});
    const std::vector<Piece> expected = pieces_of(line, origin);

    WindowReader round(
        round_of(bases, largest, read_interval(asked.begin, asked.end, length, options, true)),
        dna(), options, Strand::forward, asked);
    CHECK(pieces_of(round) == expected);
    if (whole) {
        Circles all({"all"});
        WindowReader kept(with_circles(record(bases, largest), all, options), dna(), options,
                          Strand::forward);
        CHECK(pieces_of(kept) == expected);
        const auto summaries = kept.take_summaries();
        REQUIRE(summaries.size() == 1);
        CHECK(summaries[0].length == length);
        CHECK(summaries[0].acgt == std::count_if(bases.begin(), bases.end(), [](char base) {
                  return std::string_view("ACGTUacgtu").find(base) != std::string_view::npos;
              }));
        CHECK(summaries[0].in_gaps >= 0);
        CHECK(summaries[0].in_gaps <= length - summaries[0].acgt);
    }
}

TEST_CASE("circles among lines, by name") {
    const std::vector<test::Record> records{
        {"line", "ACGT"}, {"ring", "CCGTA"}, {"none", ""}, {"after", "GG"}};
    Circles circles({"ring", "none"});
    const WindowOptions options{.context = 3, .gap = 2, .piece = 100};
    const auto source =
        with_circles(std::make_unique<test::MemorySource>(records, 1, 3), circles, options);
    std::vector<std::string> bases(4);
    std::vector<std::int64_t> starts(4, 100);
    Segment segment;
    while (source->next(segment)) {
        const auto i = static_cast<std::size_t>(segment.record);
        starts[i] = segment.first ? segment.start : starts[i];
        bases[i] += std::string(segment.bases.begin(), segment.bases.end());
        CHECK(segment.circle == (i == 1 ? 5 : 0));
    }
    // From one context and a gap before the first base to a gap behind the last one.
    CHECK(bases == std::vector<std::string>{"ACGT", "CCGTACCGTACC", "", "GG"});
    CHECK(starts == std::vector<std::int64_t>{0, -5, 0, 0});
    circles.require_met();
    CHECK(test::error_of([] {
              Circles other({"ring", "x"});
              other.has("ring");
              other.require_met();
          }) == "not_found: no record is named x, which should be circular");
}

TEST_CASE("a letter that is no nucleotide has its place in the circle") {
    const std::string bases = "ACGTA*T";
    CHECK(test::error_of([&] {
              WindowReader reader(round_of(bases, 3, {-5, 9}), dna(), {}, Strand::forward);
              pieces_of(reader);
          }) == "format: memory.fa: record 0 (r): '*' is not a nucleotide code, at r:6-6");
}
