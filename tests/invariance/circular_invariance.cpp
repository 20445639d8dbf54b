// A circle has no start: what its rows and sums depend on is the context grid alone.
#include "base/file.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/score.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::Array2;

namespace {

constexpr std::int64_t kContext = 64;

ReadingOptions reading_of(const std::string& input, std::vector<std::string> circular) {
    ReadingOptions reading;
    reading.inputs = {input};
    reading.context = kContext;
    reading.gap = 30;
    reading.circular = std::move(circular);
    return reading;
}

Array2 rows_of(const test::PipelineLab& lab,
               const ReadingOptions& reading,
               StrandChoice strand = StrandChoice::concat) {
    EmbedOptions options;
    options.model = lab.model_dir();
    options.reading = reading;
    options.output = lab.file("rows.npy");
    options.strand = strand;
    options.dtype = io::RowType::f32;
    embed(options, lab.runtime());
    return test::read_array(options.output);
}

/// The fourth fields of the lines of bases [begin, end).
std::vector<std::string> values_of(const test::PipelineLab& lab,
                                   const ReadingOptions& reading,
                                   ScoreStrand strand,
                                   std::int64_t begin,
                                   std::int64_t end) {
    ScoreOptions options;
    options.model = lab.model_dir();
    options.reading = reading;
    options.output = lab.file("values.tsv");
    options.strand = strand;
    score(options, lab.runtime());
    const std::string text = read_text(options.output);
    std::vector<std::string> out;
    for (const std::string_view line : split(text, '\n')) {
        const std::vector<std::string_view> fields = split(line, '\t');
        if (fields.size() == 4 && fields[1] != "start") {
            const std::int64_t at = std::stoll(std::string(fields[1]));
            if (at >= begin && at < end) {
                out.emplace_back(fields[3]);
            }
        }
    }
    return out;
}

std::string rotated(const std::string& bases, std::size_t by) {
    return bases.substr(by) + bases.substr(0, by);
}

/// Lines of different length, which cannot be indexed.
std::string uneven(const std::string& name, const std::string& bases) {
    return concat(">", name, "\n", bases.substr(0, 7), "\n", bases.substr(7, 50), "\n",
                  bases.substr(57), "\n");
}

/// Without gaps at its ends.
std::string ring_of(std::size_t length) {
    return "ACGGT" + test::gapped_bases(length - 10, 41, 3, 45) + "TTGCA";
}

}  // namespace

TEST_CASE("circular: rows are those of a line with the other end before it", "[embed]") {
    const test::PipelineLab lab;
    const std::string ring = ring_of(1203);
    const std::string input = lab.fasta("ring.fa", {"x", ring});
    const std::string before = lab.fasta("before.fa", {"x", ring.substr(1203 - kContext) + ring});
    const std::string behind = lab.fasta("behind.fa", {"x", ring + ring.substr(0, kContext)});
    const Array2 forward = rows_of(lab, reading_of(input, {"x"}), StrandChoice::forward);
    const Array2 reverse = rows_of(lab, reading_of(input, {"all"}), StrandChoice::reverse);
    REQUIRE(forward.rows == 1203);
    REQUIRE(forward.bytes ==
            rows_of(lab, reading_of(before, {}), StrandChoice::forward).rows_of(kContext, 1203));
    REQUIRE(reverse.bytes ==
            rows_of(lab, reading_of(behind, {}), StrandChoice::reverse).rows_of(0, 1203));
    REQUIRE(forward.row(0) != rows_of(lab, reading_of(input, {}), StrandChoice::forward).row(0));
}

TEST_CASE("circular: a turn by whole contexts turns the rows", "[embed]") {
    const test::PipelineLab lab;
    constexpr std::int64_t by = 3 * kContext;
    const auto rows = [&](const std::string& ring, StrandChoice strand) {
        return rows_of(lab, reading_of(lab.fasta("ring.fa", {"x", ring}), {"x"}), strand);
    };
    SECTION("all of them, where the circle is whole contexts too") {
        const std::string ring = ring_of(20 * kContext);
        const Array2 here = rows(ring, StrandChoice::concat);
        const Array2 there = rows(rotated(ring, by), StrandChoice::concat);
        REQUIRE(there.bytes == here.rows_of(by, here.rows - by) + here.rows_of(0, by));
    }
    SECTION("else those from the new start on") {
        const std::string ring = ring_of(20 * kContext + 23);
        const Array2 here = rows(ring, StrandChoice::forward);
        const Array2 there = rows(rotated(ring, by), StrandChoice::forward);
        REQUIRE(there.rows_of(0, here.rows - by) == here.rows_of(by, here.rows - by));
    }
}

TEST_CASE("circular: files, streams, regions and company give the same rows", "[embed]") {
    const test::PipelineLab lab;
    const std::string ring = ring_of(503);
    const std::string line = test::gapped_bases(300, 42, 1, 45);
    const StrandChoice strand = GENERATE(StrandChoice::concat, StrandChoice::forward);
    const std::string alone = lab.fasta("ring.fa", {"x", ring});
    const Array2 rows = rows_of(lab, reading_of(alone, {"x"}), strand);

    write_text(lab.file("uneven.fa"), uneven("x", ring));
    REQUIRE(rows_of(lab, reading_of(lab.file("uneven.fa"), {"x"}), strand).bytes == rows.bytes);

    const std::string line_rows =
        rows_of(lab, reading_of(lab.fasta("line.fa", {"l", line}), {}), strand).bytes;
    const std::string all = line_rows + rows.bytes + line_rows + rows.bytes;
    const std::string many = lab.fasta("many.fa", {"l", line, "x", ring, "m", line, "y", ring});
    REQUIRE(rows_of(lab, reading_of(many, {"x", "y"}), strand).bytes == all);
    write_text(lab.file("many.fa2"),
               uneven("l", line) + uneven("x", ring) + uneven("m", line) + uneven("y", ring));
    REQUIRE(rows_of(lab, reading_of(lab.file("many.fa2"), {"y", "x"}), strand).bytes == all);

    ReadingOptions regions = reading_of(alone, {"all"});
    regions.regions = {"x:1-40", "x:200-300", "x:480-503"};
    REQUIRE(rows_of(lab, regions, strand).bytes ==
            rows.rows_of(0, 40) + rows.rows_of(199, 101) + rows.rows_of(479, 24));
}

TEST_CASE("circular: whole reads one turn before", "[embed]") {
    const test::PipelineLab lab;
    const std::string ring = ring_of(300);
    ReadingOptions circle = reading_of(lab.fasta("ring.fa", {"x", ring}), {"x"});
    ReadingOptions line = reading_of(lab.fasta("line.fa", {"x", ring + ring}), {});
    circle.context = line.context = kWholeContext;
    for (const std::int64_t chunk : {0, 37}) {
        circle.chunk = chunk;
        REQUIRE(rows_of(lab, circle, StrandChoice::forward).bytes ==
                rows_of(lab, line, StrandChoice::forward).rows_of(300, 300));
    }
}

TEST_CASE("circular: a gap over the seam is a gap", "[embed]") {
    const test::PipelineLab lab;
    std::string ring = ring_of(400);
    std::fill_n(ring.begin(), 20, 'N');
    std::fill_n(ring.end() - 20, 20, 'N');
    const std::string input = lab.fasta("ring.fa", {"x", ring});
    const Array2 line = rows_of(lab, reading_of(input, {}), StrandChoice::forward);
    const Array2 circle = rows_of(lab, reading_of(input, {"x"}), StrandChoice::forward);
    const std::string zeros(static_cast<std::size_t>(20 * circle.dim * circle.item), '\0');
    REQUIRE(circle.rows_of(0, 20) == zeros);
    REQUIRE(circle.rows_of(380, 20) == zeros);
    REQUIRE(line.rows_of(0, 20) != zeros);
}

TEST_CASE("circular: evaluate scores the first base too", "[evaluate]") {
    const test::PipelineLab lab;
    const std::string ring = test::markov_bases(500, 7);
    const std::string input = lab.fasta("ring.fa", {"l", ring, "x", ring});
    const auto run = [&](const ReadingOptions& reading) {
        EvaluateOptions options;
        options.model = lab.model_dir();
        options.reading = reading;
        options.output = lab.file("out.tsv");
        options.baseline = {2};
        options.baseline_train = {input};
        return evaluate(options, lab.runtime());
    };
    const EvaluateReport report = run(reading_of(input, {"x"}));
    REQUIRE(report.all.all().bases == 499 + 500);
    REQUIRE(report.baselines.front().tally.all().bases == 499 + 500);
    REQUIRE(report.bases_read == 1000);
    const std::string table = read_text(lab.file("out.tsv"));
    ReadingOptions regions = reading_of(input, {"x"});
    regions.regions = {"x", "l"};
    REQUIRE(run(regions).all.all().bases == 999);
    REQUIRE(read_text(lab.file("out.tsv")) == table);
    REQUIRE(test::failure_of([&] { run(reading_of(input, {"chrM"})); }) ==
            "not_found: no record is named chrM, which should be circular");
}

TEST_CASE("circular: a score is that of a line with the other end before it", "[score]") {
    const test::PipelineLab lab;
    constexpr std::int64_t length = 1203;
    const std::string ring = ring_of(length);
    const std::string input = lab.fasta("ring.fa", {"x", ring});
    const std::string before = lab.fasta("before.fa", {"x", ring.substr(length - kContext) + ring});
    const std::string behind = lab.fasta("behind.fa", {"x", ring + ring.substr(0, kContext)});
    const auto of = [&](const std::string& path, const std::vector<std::string>& circular,
                        ScoreStrand strand, std::int64_t from) {
        return values_of(lab, reading_of(path, circular), strand, from, from + length);
    };
    const std::vector<std::string> forward = of(input, {"x"}, ScoreStrand::forward, 0);
    REQUIRE(forward.size() > 900);
    REQUIRE(forward == of(before, {}, ScoreStrand::forward, kContext));
    REQUIRE(forward.size() == of(input, {}, ScoreStrand::forward, 0).size() + 1);
    REQUIRE(of(input, {"all"}, ScoreStrand::reverse, 0) == of(behind, {}, ScoreStrand::reverse, 0));

    // The same from a stream, and by regions.
    const std::vector<std::string> both = of(input, {"x"}, ScoreStrand::both, 0);
    write_text(lab.file("uneven.fa"), uneven("x", ring));
    REQUIRE(of(lab.file("uneven.fa"), {"x"}, ScoreStrand::both, 0) == both);
    ReadingOptions regions = reading_of(input, {"all"});
    regions.regions = {"x:1-40", "x:1,101-1,203"};
    std::vector<std::string> expected =
        values_of(lab, reading_of(input, {"x"}), ScoreStrand::both, 0, 40);
    const std::vector<std::string> end =
        values_of(lab, reading_of(input, {"x"}), ScoreStrand::both, 1100, length);
    expected.insert(expected.end(), end.begin(), end.end());
    REQUIRE(values_of(lab, regions, ScoreStrand::both, 0, length) == expected);
}
