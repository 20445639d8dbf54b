// The parts of classify that need no model: calibration, taxonomy, k-mers, bootstrap.
#include "base/thread_pool.hpp"
#include "pipelines/bootstrap.hpp"
#include "pipelines/calibration.hpp"
#include "pipelines/kmer_baseline.hpp"
#include "pipelines/taxonomy.hpp"
#include "tests/unit/pipelines/classify_lab.hpp"

#include <cmath>
#include <functional>

#include <catch2/catch.hpp>

namespace mambase::pipelines {

namespace {

using test::composed_bases;
using test::failure_of;

/// Scores whose softmax at `temperature` is the chance that the label is drawn with.
ScoredSet drawn_set(double temperature, std::int64_t size) {
    ScoredSet out{3, {}, {}};
    const CounterRng rng(9, 9);
    std::uint64_t counter = 0;
    std::vector<double> row(3);
    std::vector<double> p(3);
    for (std::int64_t i = 0; i < size; ++i) {
        for (double& score : row) {
            score = 2.0 * rng.normal(counter++);
        }
        probabilities(row, temperature, p);
        const double u = rng.uniform(counter++);
        out.add(u < p[0] ? 0 : u < p[0] + p[1] ? 1 : 2, row);
    }
    return out;
}

std::vector<std::uint8_t> codes_of(const std::string& bases) {
    std::vector<std::uint8_t> out(bases.size());
    io::Tokenizer::named("dna").encode(bases, out.data());
    return out;
}

const std::vector<model::Taxon> kTree = {{1, 1, "R", "root", ""},
                                         {9604, 1, "F", "Hominidae", ""},
                                         {9606, 9604, "S", "Homo sapiens", "human"},
                                         {9601, 9604, "S", "Pongo abelii", "orangutan"},
                                         {4932, 1, "S", "S. cerevisiae", "yeast"}};
const std::vector<std::string> kLabels = {"human", "yeast", "orangutan"};

}  // namespace

TEST_CASE("calibration: probabilities sum to one, however far apart the scores") {
    std::vector<double> p(3);
    probabilities(std::vector<double>{1e4, 0.0, -1e4}, 1.0, p);
    CHECK(p == std::vector<double>{1.0, 0.0, 0.0});
    probabilities(std::vector<double>{1.0, 2.0, 3.0}, 2.0, p);
    CHECK(p[0] + p[1] + p[2] == Approx(1.0).epsilon(1e-15));
    CHECK(p[2] / p[1] == Approx(std::exp(0.5)));
    CHECK(likeliest(p).label == 2);
    CHECK(likeliest(std::vector<double>{0.5, 0.5}).label == 0);
}

TEST_CASE("calibration: the fitted temperature is that of the draws, and calibrates") {
    const ScoredSet set = drawn_set(3.0, 20'000);
    const double fitted = fit_temperature(set);
    CHECK(fitted == Approx(3.0).epsilon(0.05));
    CHECK(mean_nats(set, fitted) <= mean_nats(set, 1.01 * fitted));
    CHECK(mean_nats(set, fitted) <= mean_nats(set, 0.99 * fitted));
    const auto error = [&](double temperature) {
        CalibrationBins bins;
        for (const Judged& call : judge(set, temperature)) {
            bins.add(call);
        }
        return bins.error();
    };
    CHECK(error(fitted) < 0.02);
    CHECK(error(1.0) > 0.1);
    CHECK(fit_temperature({3, {}, {}}) == 1.0);
}

TEST_CASE("calibration: bins hold each call once, at both ends too") {
    CalibrationBins bins;
    CHECK(bins.error() == 0.0);
    for (const Judged& call : {Judged{0.0, false}, {0.5, true}, {0.51, false}, {1.0, true}}) {
        bins.add(call);
    }
    bins.add(bins);
    CHECK(bins.bins().front().calls == 2.0);
    CHECK(bins.bins()[7].calls == 4.0);
    CHECK(bins.bins()[7].probability == Approx(2.02));
    CHECK(bins.bins()[7].right == 2.0);
    CHECK(bins.bins().back().right == 2.0);
    CHECK(bins.error() == Approx(0.02 / 8.0));
}

TEST_CASE("calibration: the confidence keeps false calls within their share") {
    CHECK(confidence_for({{0.9, true}, {0.8, true}, {0.7, false}, {0.6, true}}, 0.25) == 0.6);
    CHECK(confidence_for({{0.9, true}, {0.8, true}, {0.7, false}, {0.6, false}}, 0.25) == 0.8);
    CHECK(confidence_for({{0.9, true}, {0.9, false}}, 0.25) == 1.0);  // equals go together
    CHECK(confidence_for({}, 0.05) == 1.0);
}

TEST_CASE("taxonomy: a report adds up, and indents") {
    const Taxonomy tree(kTree, kLabels, "tree");
    CHECK(tree.taxid(0) == 9606);
    CHECK(tree.name(1) == "S. cerevisiae");
    CHECK(tree.report({5, 1, 2}, 2) ==
          " 20.00\t2\t2\tU\t0\tunclassified\n"
          " 80.00\t8\t0\tR\t1\troot\n"
          " 70.00\t7\t0\tF\t9604\t  Hominidae\n"
          " 50.00\t5\t5\tS\t9606\t    Homo sapiens\n"
          " 20.00\t2\t2\tS\t9601\t    Pongo abelii\n"
          " 10.00\t1\t1\tS\t4932\t  S. cerevisiae\n");
    CHECK(Taxonomy({}, kLabels, "").report({0, 1, 0}, 0) ==
          "100.00\t1\t0\tR\t1\troot\n100.00\t1\t1\tS\t3\t  yeast\n");
}

TEST_CASE("taxonomy: what is no tree of the labels") {
    const auto failure = [](const std::function<void(std::vector<model::Taxon>&)>& change) {
        std::vector<model::Taxon> nodes = kTree;
        change(nodes);
        return failure_of([&] { Taxonomy(nodes, kLabels, "tree"); });
    };
    CHECK(failure([](auto& nodes) { nodes[2].taxid = 1; }) ==
          "format: tree: taxid 1 is below 1 or there twice");
    CHECK(failure([](auto& nodes) { nodes[0].parent = 9604; }) ==
          "format: tree: the taxonomy has 0 roots (parent 0 or itself), not one");
    CHECK(failure([](auto& nodes) { nodes[2].parent = 7; }) ==
          "format: tree: taxid 9606 has a parent that is not there: 7");
    CHECK(failure([](auto& nodes) { nodes[1].parent = 9606; }) ==
          "format: tree: a circle of parents");
    CHECK(failure([](auto& nodes) { nodes[4].label = "cat"; }) ==
          "format: tree: the classifier has no label 'cat'");
    CHECK(failure([](auto& nodes) { nodes[4].label = ""; }) ==
          "format: tree: label 'yeast' has no taxid");
}

TEST_CASE("taxonomy: a table of it") {
    const test::PipelineLab lab;
    write_text(
        lab.file("t.tsv"),
        "taxid\tparent\trank\tname\tlabel\n1\t1\tR\troot\n2\t1\tS\tone\ta\r\n# x\n3\t1\tS\tb "
        "c\tb\n");
    const std::vector<model::Taxon> nodes = read_taxonomy(lab.file("t.tsv"));
    REQUIRE(nodes.size() == 3);
    CHECK(nodes[1] == model::Taxon{2, 1, "S", "one", "a"});
    write_text(lab.file("t.tsv"), "1\t1\tR\troot\nx\t1\tS\tone\ta\n");
    CHECK(failure_of([&] { read_taxonomy(lab.file("t.tsv")); }) ==
          concat("format: ", lab.file("t.tsv"), ": line 2: 'x' is not a taxid"));
}

TEST_CASE("k-mers: canonical, of A, C, G, T alone") {
    const io::Tokenizer& dna = io::Tokenizer::named("dna");
    CHECK(KmerCounter(1, dna).size() == 2);
    CHECK(KmerCounter(2, dna).size() == 10);
    CHECK(KmerCounter(6, dna).size() == 2080);
    const KmerCounter counter(4, dna);
    const auto shares = [&](const std::string& bases) {
        std::vector<float> out(static_cast<std::size_t>(counter.size()));
        counter.shares(codes_of(bases), out.data());
        return out;
    };
    const std::string bases = composed_bases(500, 0.4, 3);
    CHECK(shares(bases) == shares(test::mirrored_bases(bases)));
    CHECK(shares("ACGTNNNACG") == shares("ACGT"));
    CHECK(shares("ACGN") == std::vector<float>(static_cast<std::size_t>(counter.size()), 0.0F));
    CHECK(shares("AAAAT")[0] == 0.5F);
    CHECK(failure_of([&] { KmerCounter(9, dna); }).find("from 1 to 8") != std::string::npos);
}

TEST_CASE("logistic regression: the least penalised loss, whatever the threads") {
    FeatureRows rows;
    rows.width = 2;
    const CounterRng rng(4, 4);
    for (std::uint64_t i = 0; i < 300; ++i) {
        const auto label = static_cast<std::int64_t>(i % 3);
        rows.labels.push_back(label);
        rows.values.push_back(static_cast<float>(rng.normal(2 * i) + (label == 1 ? 2.0 : 0.0)));
        rows.values.push_back(static_cast<float>(rng.normal(2 * i + 1) + (label == 2 ? 2.0 : 0.0)));
    }
    ThreadPool one(1);
    ThreadPool three(3);
    LogisticRegression model(3, 2);
    model.fit(rows, 1e-4, one);
    const ScoredSet scores = model.score(rows);
    CHECK(accuracy(judge(scores, 1.0)) > 0.7);
    CHECK(fit_temperature(scores) == Approx(1.0).epsilon(0.02));  // nothing left to gain by scaling
    LogisticRegression other(3, 2);
    other.fit(rows, 1e-4, three);
    CHECK(other.score(rows).scores == scores.scores);
    LogisticRegression flat(3, 2);
    flat.fit(rows, 1e6, one);
    CHECK(mean_nats(flat.score(rows), 1.0) == Approx(std::log(3.0)).epsilon(1e-3));
}

TEST_CASE("bootstrap: intervals hold the truth, and are wider where windows hang together") {
    const auto verdicts = [](std::int64_t block) {
        std::vector<Verdict> out;
        const CounterRng rng(1, 1);
        for (std::int64_t i = 0; i < 600; ++i) {
            const std::int64_t label = i < 300 ? 0 : 1;
            // Right or wrong by stretches of ten.
            const bool right = rng.uniform(static_cast<std::uint64_t>(i / 10)) < 0.7;
            out.push_back({label, i / block, right ? label : 1 - label, 0.7, 0.5});
        }
        return out;
    };
    const std::vector<Verdict> alone = verdicts(1);
    const Intervals narrow = bootstrap(alone, alone, 2, 500, 1);
    const Intervals wide = bootstrap(verdicts(10), {}, 2, 500, 1);
    const auto width = [](const Interval95& interval) { return interval.high - interval.low; };
    CHECK(width(wide.all) > 2.0 * width(narrow.all));
    CHECK(wide.all.low < 0.7);
    CHECK(wide.all.high > 0.7);
    CHECK(narrow.difference.low == 0.0);
    CHECK(narrow.difference.high == 0.0);
    CHECK(bootstrap(alone, {}, 2, 500, 1).all.low == narrow.all.low);
    CHECK(narrow.accuracy.size() == 2);
}

}  // namespace mambase::pipelines
