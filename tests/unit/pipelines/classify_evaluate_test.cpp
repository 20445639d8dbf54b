#include "pipelines/classify_evaluate.hpp"

#include "tests/unit/pipelines/classify_lab.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace mambase::pipelines {

namespace {

using test::ClassifyLab;
using test::composed_bases;
using test::evaluation;
using test::failure_of;
using test::number;
using test::trained_lab;

}  // namespace

TEST_CASE("classify evaluate: accuracy, confusion and floors on the test part") {
    ClassifyLab& lab = trained_lab();
    ClassifyEvaluateOptions options = evaluation(lab, "classifier");
    options.kmer = 3;
    options.reliability = lab.file("reliability");
    const ClassifyEvaluateReport report = classify_evaluate(options, lab.runtime());
    CHECK_FALSE(lab.warned_of("these are not the samples"));
    REQUIRE(report.results.size() == 2);
    const ClassifierResult& mine = report.results[0];
    CHECK(mine.windows == 2 * 17);
    CHECK(mine.accuracy > 0.9);
    CHECK(report.results[1].accuracy > 0.9);
    CHECK(report.chance == 0.5);
    CHECK(mine.intervals.all.low <= mine.accuracy);
    CHECK(mine.intervals.all.high >= mine.accuracy);
    const auto rows = lab.rows("table");
    REQUIRE(rows.size() == 1 + 4 + 4 + 2);
    CHECK(rows[0].back() == "called:b");
    for (const auto& row : rows) {
        CHECK(row.size() == 14);
    }
    for (const std::size_t row : {1, 2, 3}) {
        CHECK(number(rows[row][12]) + number(rows[row][13]) == number(rows[row][2]));
    }
    CHECK(number(rows[1][12]) / 17.0 == Approx(number(rows[1][3])).margin(1e-4));
    CHECK(rows[4][1] == "balanced");
    CHECK(rows[9][0] == "difference");
    CHECK(rows[10][0] == "chance");
    const auto bins = lab.rows("reliability");
    REQUIRE(bins.size() == 1 + 15 + 15);
    double windows = 0.0;
    double right = 0.0;
    double gaps = 0.0;
    for (std::size_t bin = 1; bin <= 15; ++bin) {
        REQUIRE(bins[bin].size() == 8);
        CHECK(bins[bin][0] == "model");
        if (bins[bin][3] == "0") {
            CHECK(bins[bin][5] == ".");
            continue;
        }
        const double count = number(bins[bin][3]);
        const double observed = number(bins[bin][5]);
        CHECK(number(bins[bin][4]) >= number(bins[bin][1]));
        CHECK(number(bins[bin][4]) <= number(bins[bin][2]));
        CHECK(observed >= number(bins[bin][6]));
        CHECK(observed <= number(bins[bin][7]));
        windows += count;
        right += count * observed;
        gaps += count * std::abs(number(bins[bin][4]) - observed);
    }
    CHECK(windows == 34.0);
    CHECK(right / windows == Approx(mine.accuracy).margin(1e-4));
    CHECK(gaps / windows == Approx(mine.calibration_error).margin(1e-4));
    const std::string table = lab.text("table");
    const std::string reliability = lab.text("reliability");
    options.chunk = 16;
    classify_evaluate(options, lab.runtime(3));
    CHECK(lab.text("table") == table);
    CHECK(lab.text("reliability") == reliability);
}

TEST_CASE("classify evaluate: another table is told, one without a test part refused") {
    ClassifyLab& lab = trained_lab();
    ClassifyEvaluateOptions options = evaluation(lab, "classifier");
    options.samples = lab.table("other.tsv", {concat(lab.file("b.fa"), "\tb\t\ttest"),
                                              concat(lab.file("a.fa"), "\ta\t\ttest")});
    classify_evaluate(options, lab.runtime());
    CHECK(lab.warned_of("these are not the samples that the classifier was trained with"));
    CHECK(lab.rows("table")[1][1] == "a");  // in the classifier's order
    lab.table("other.tsv",
              {concat(lab.file("b.fa"), "\tb\t\ttrain"), concat(lab.file("a.fa"), "\ta\t\ttrain")});
    CHECK(failure_of([&] { classify_evaluate(options, lab.runtime()); }).find("no test window") !=
          std::string::npos);
    lab.table("other.tsv",
              {concat(lab.file("b.fa"), "\tb\t\ttest"), concat(lab.file("a.fa"), "\tc\t\ttest")});
    CHECK(failure_of([&] {
              classify_evaluate(options, lab.runtime());
          }).find("line 2: the classifier has no label 'c'") != std::string::npos);
}

TEST_CASE("classify: labels that mean nothing are told apart no better than by chance") {
    ClassifyLab lab;
    // One sequence, cut into pieces whose labels are drawn.
    std::vector<std::string> lines = {"path\tlabel\tregion\tsplit"};
    const std::string path = lab.fasta("c.fa", {"contig", composed_bases(40'000, 0.5, 3)});
    const CounterRng rng(8, 8);
    for (std::uint64_t i = 0; i < 100; ++i) {
        lines.push_back(concat(path, "\t", rng.below(i, 2) == 0 ? "a" : "b",
                               "\tcontig:", i * 400 + 1, "-", (i + 1) * 400, "\t",
                               i < 60   ? "train"
                               : i < 75 ? "valid"
                                        : "test"));
    }
    lab.table("samples.tsv", lines);
    lab.train(lab.training("run"));
    ClassifyEvaluateOptions options = evaluation(lab, "run");
    options.kmer = 4;
    const ClassifyEvaluateReport report = classify_evaluate(options, lab.runtime());
    for (const ClassifierResult& result : report.results) {
        CAPTURE(result.name);
        CHECK(result.windows == 150);
        CHECK(result.balanced == Approx(0.5).margin(0.15));
        CHECK(result.intervals.balanced.low < 0.55);
    }
}

TEST_CASE("classify: windows that hold N are trained on and scored where --gap lets them") {
    ClassifyLab lab;
    for (const char* const name : {"a", "b"}) {
        std::string bases = composed_bases(12'000, *name == 'a' ? 0.3 : 0.7, 1);
        for (std::size_t i = 30; i < bases.size(); i += 50) {
            bases.replace(i, 10, "NNNNNNNNNN");
        }
        lab.fasta(concat(name, ".fa"), {"contig", bases});
    }
    ClassifyTrainOptions options = lab.training("run");
    CHECK(failure_of([&] { lab.train(options); }).find("without a gap") != std::string::npos);
    options.gap = 11;
    CHECK(lab.train(options).valid.accuracy > 0.9);
    CHECK(classify_evaluate(evaluation(lab, "run"), lab.runtime()).results[0].accuracy > 0.9);
}

TEST_CASE("classify: case and the names of contigs change no bit of a run") {
    ClassifyLab plain;
    plain.train(plain.training("run"));
    classify_evaluate(evaluation(plain, "run"), plain.runtime());
    ClassifyLab marked;
    std::string lower = composed_bases(12'000, 0.7, 2);
    for (char& letter : lower) {
        letter = static_cast<char>(letter | 0x20);
    }
    marked.fasta("a.fa", {"chromosome_of_a", composed_bases(12'000, 0.3, 1)});
    marked.fasta("b.fa", {"b", lower});
    marked.train(marked.training("run"));
    classify_evaluate(evaluation(marked, "run"), marked.runtime());
    CHECK((plain.text("run/model.safetensors") == marked.text("run/model.safetensors")));
    CHECK(plain.text("run/metrics.jsonl") == marked.text("run/metrics.jsonl"));
    CHECK(plain.text("table") == marked.text("table"));
}

TEST_CASE("classify: N and lower case in the samples tell nothing") {
    // The same composition; one label's file has N and lower case all over.
    ClassifyLab lab;
    std::string marked = composed_bases(12'000, 0.5, 2);
    for (std::size_t i = 0; i < marked.size(); ++i) {
        if (i % 90 == 0) {
            marked[i] = 'N';
        } else if (i % 3 != 0) {
            marked[i] = static_cast<char>(marked[i] | 0x20);
        }
    }
    lab.fasta("a.fa", {"NNN_a", composed_bases(12'000, 0.5, 1)});
    lab.fasta("b.fa", {"b", marked});
    lab.train(lab.training("run"));
    const ClassifyEvaluateReport report = classify_evaluate(evaluation(lab, "run"), lab.runtime());
    CHECK(report.results[0].balanced == Approx(0.5).margin(0.2));
}

}  // namespace mambase::pipelines
