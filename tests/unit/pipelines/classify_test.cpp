#include "model/classifier.hpp"
#include "pipelines/classify_predict.hpp"
#include "pipelines/classify_train.hpp"
#include "pipelines/training_data.hpp"
#include "tests/unit/pipelines/classify_lab.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include <catch2/catch.hpp>

namespace mambase::pipelines {

namespace {

using test::ClassifyLab;
using test::composed_bases;
using test::failure_of;
using test::mirrored_bases;
using test::number;
using test::trained_lab;
using test::weights_of;

/// Reads of the two compositions, some with N, some very short.
std::vector<std::string> reads() {
    std::vector<std::string> out;
    for (std::uint64_t i = 0; i < 24; ++i) {
        const std::size_t length = i % 5 == 0 ? 20 : 40 + 23 * i;
        std::string bases = composed_bases(length, i % 2 == 0 ? 0.3 : 0.7, 100 + i);
        if (i % 4 == 1) {
            bases.replace(7, 5, "NNNNN");
        }
        if (i % 6 == 2) {
            bases = "NNR" + bases;
        }
        out.push_back(concat(i % 2 == 0 ? "a" : "b", i));
        out.push_back(bases);
    }
    return out;
}

}  // namespace

TEST_CASE("classify: two compositions are told apart, by the whole model and by the head alone") {
    for (const bool freeze : {false, true}) {
        ClassifyLab lab;
        ClassifyTrainOptions options = lab.training("classifier");
        options.freeze = freeze;
        options.lr = freeze ? 5e-2 : 1e-2;
        const ClassifyTrainReport report = lab.train(options);
        CAPTURE(freeze);
        CHECK(report.finished);
        CHECK(report.valid.windows == 2 * 17);
        CHECK(report.valid.accuracy > 0.9);
        const model::Classifier classifier = model::read_classifier(lab.file("classifier"));
        CHECK(classifier.labels == std::vector<std::string>{"a", "b"});
        CHECK(classifier.window == 64);
        CHECK(classifier.confidence == report.confidence);
        const model::Model base = model::Model::load(lab.model_dir(), host_allocator());
        const model::Model trained = model::load_classifier(lab.file("classifier"), classifier);
        CHECK(classifier.base_model == base.hash());
        CHECK((trained.with_classes(0).hash() == base.hash()) == freeze);
    }
}

TEST_CASE("classify train: the same bytes whatever the threads and the chunk") {
    ClassifyLab lab;
    ClassifyTrainOptions options = lab.training("one");
    options.context = 150;  // more than a tile of gradients
    options.steps = 6;
    lab.train(options);
    options.output = lab.file("three");
    options.chunk = 64;
    lab.train(options, 3);
    CHECK((weights_of(lab, "one") == weights_of(lab, "three")));
    CHECK(lab.text("one/metrics.jsonl") == lab.text("three/metrics.jsonl"));
    options.output = lab.file("seed");
    options.seed = 5;
    lab.train(options);
    CHECK((weights_of(lab, "one") != weights_of(lab, "seed")));
}

TEST_CASE("classify train: stopped at any step and taken up again, it ends with the same bytes") {
    for (const bool freeze : {false, true}) {
        ClassifyLab lab;
        ClassifyTrainOptions options = lab.training("whole");
        options.freeze = freeze;
        options.steps = 12;
        options.eval_every = 5;
        lab.train(options);
        options.output = lab.file("parts");
        int runs = 0;
        for (bool finished = false; !finished; ++runs) {
            REQUIRE(runs < 40);
            // By a signal in the second step of this call, or by time, after the first.
            if (runs % 2 == 0) {
                finished = lab.train_with_signal(options, concat("step ", 3 * (runs / 2) + 2, "/"));
            } else {
                options.max_time = 1e-9;
                finished = lab.train(options).finished;
                options.max_time.reset();
            }
            CHECK(exists(lab.file("parts/model.safetensors")) == finished);
        }
        CHECK(runs > 7);
        CHECK((weights_of(lab, "whole") == weights_of(lab, "parts")));
        CHECK(lab.text("whole/metrics.jsonl") == lab.text("parts/metrics.jsonl"));
        // Once more: the model is written again, as it was.
        std::filesystem::remove(lab.file("parts/model.safetensors"));
        CHECK(lab.train(options).finished);
        CHECK((weights_of(lab, "whole") == weights_of(lab, "parts")));
    }
}

TEST_CASE("classify train: a dry run writes nothing and says what it would") {
    for (const bool freeze : {false, true}) {
        ClassifyLab lab;
        ClassifyTrainOptions options = lab.training("run");
        options.freeze = freeze;
        options.dry_run = true;
        const std::string plan = lab.train(options).plan;
        CHECK(plan.find("moments of AdamW") != std::string::npos);
        CHECK(plan.find("for 30 steps") != std::string::npos);
        CHECK_FALSE(exists(lab.file("run")));
    }
}

TEST_CASE("classify train: other options than the stopped run's are refused, with the list") {
    ClassifyLab lab;
    ClassifyTrainOptions options = lab.training("run");
    options.steps = 3;
    lab.train(options);
    options.lr = 0.5;
    options.pool = model::HeadPool::last;
    const std::string failure = failure_of([&] { lab.train(options); });
    CHECK(failure.find("pool was mean, is last") != std::string::npos);
    CHECK(failure.find("lr was 0.01, is 0.5") != std::string::npos);
    options.resume = "never";
    CHECK(failure_of([&] { lab.train(options); }).find("give another output directory") !=
          std::string::npos);
}

TEST_CASE("classify train: a base model trained on the samples' test contigs is told") {
    ClassifyLab lab;
    ClassifyTrainOptions options = lab.training("run");
    options.steps = 2;
    lab.train(options);
    CHECK(lab.warnings.empty());

    io::TokenStore store(io::Tokenizer::named("dna"));
    store.add(lab.file("b.fa"), {});
    model::Model base = model::Model::load(lab.model_dir(), host_allocator());
    base.provenance()->training_data = data_digest(store);
    model::save_model(lab.file("seen"), base);
    options.model = lab.file("seen");
    options.output = lab.file("warned");
    lab.train(options);
    CHECK(lab.warned_of(concat("the base model was trained on ", lab.file("b.fa"),
                               ", whose contigs are in the test part")));
}

TEST_CASE("classify train: without validation every sequence is called, and it says so") {
    ClassifyLab lab;
    lab.table("samples.tsv",
              {concat(lab.file("a.fa"), "\ta\t\ttrain"), concat(lab.file("b.fa"), "\tb\t\ttrain")});
    ClassifyTrainOptions options = lab.training("run");
    options.steps = 2;
    CHECK(lab.train(options).valid.windows == 0);
    CHECK(lab.warned_of("no window for validation"));
    CHECK(model::read_classifier(lab.file("run")).confidence == 0.0);
}

TEST_CASE("classify predict: a read and its reverse complement get the same, bit for bit") {
    ClassifyLab& lab = trained_lab();
    std::vector<std::string> records = reads();
    ClassifyPredictOptions options = lab.prediction("classifier", lab.fasta("reads.fa", records));
    options.step = 21;
    lab.predict(options);
    const auto calls = lab.rows("calls");
    const std::string probs = lab.text("probs");
    const std::string report = lab.text("report");
    REQUIRE(calls.size() == records.size() / 2);
    int right = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        REQUIRE(calls[i].size() == 5);
        CHECK(calls[i][1] == records[2 * i]);
        CHECK(calls[i][3] == concat(records[2 * i + 1].size()));
        right += calls[i][2] == (i % 2 == 0 ? "2" : "3") ? 1 : 0;
    }
    CHECK(right >= 20);
    for (std::size_t i = 1; i < records.size(); i += 2) {
        records[i] = mirrored_bases(records[i]);
    }
    lab.fasta("reads.fa", records);
    options.reading.chunk = 16;
    lab.predict(options, 3);
    CHECK(lab.text("probs") == probs);
    CHECK(lab.text("report") == report);
    const auto mirrored = lab.rows("calls");
    for (std::size_t i = 0; i < calls.size(); ++i) {
        CHECK(std::equal(calls[i].begin(), calls[i].begin() + 4, mirrored[i].begin()));
    }
}

TEST_CASE("classify predict: neither case, name nor company changes a call") {
    ClassifyLab& lab = trained_lab();
    std::vector<std::string> records = reads();
    ClassifyPredictOptions options = lab.prediction("classifier", lab.fasta("reads.fa", records));
    lab.predict(options);
    const auto expected = lab.rows("calls");
    for (std::size_t i = 0; i < records.size(); i += 2) {
        records[i] = concat("read", i);
        std::transform(records[i + 1].begin(), records[i + 1].end(), records[i + 1].begin(),
                       [](char letter) { return static_cast<char>(letter | 0x20); });
    }
    std::rotate(records.begin(), records.begin() + 10, records.end());
    lab.fasta("reads.fa", records);
    lab.predict(options);
    const auto changed = lab.rows("calls");
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto& now = changed[(i + expected.size() - 5) % expected.size()];
        CHECK(now[0] == expected[i][0]);
        CHECK(std::equal(now.begin() + 2, now.end(), expected[i].begin() + 2));
    }
}

TEST_CASE("classify predict: probabilities sum to one, and the report adds up") {
    ClassifyLab& lab = trained_lab();
    std::vector<std::string> records = reads();
    records.insert(records.end(), {"n", "NNNN", "empty", ""});
    ClassifyPredictOptions options = lab.prediction("classifier", lab.fasta("reads.fa", records));
    options.confidence = 0.9;
    const ClassifyPredictReport report = lab.predict(options);
    CHECK(report.sequences == 26);
    const auto probs = lab.rows("probs");
    CHECK(probs[0] == std::vector<std::string>{"id", "length", "a", "b"});
    std::int64_t sure = 0;
    for (std::size_t i = 1; i < probs.size(); ++i) {
        CHECK(number(probs[i][2]) + number(probs[i][3]) == Approx(1.0).epsilon(1e-12));
        sure += std::max(number(probs[i][2]), number(probs[i][3])) >= 0.9 ? 1 : 0;
    }
    CHECK(report.classified == sure);
    const auto calls = lab.rows("calls");
    CHECK(calls[24] == std::vector<std::string>{"U", "n", "0", "4", "A:1"});
    CHECK(calls[25] == std::vector<std::string>{"U", "empty", "0", "0", "0:0"});
    const auto lines = lab.rows("report");
    CHECK(lines[0][4] == "0");
    CHECK(lines[0][1] == concat(26 - sure));
    CHECK(lines[1][1] == concat(sure));
    CHECK(std::stoll(lines[2][1]) + std::stoll(lines[3][1]) == sure);
    // A confidence of nothing calls all that has bases; of one, next to nothing.
    options.confidence = 0.0;
    CHECK(lab.predict(options).classified == 24);
}

TEST_CASE("classify predict: windows lie evenly from one end to the other") {
    ClassifyLab& lab = trained_lab();
    const std::string bases = composed_bases(64 + 130, 0.3, 3);
    ClassifyPredictOptions options =
        lab.prediction("classifier", lab.fasta("reads.fa", {"x", bases, "y", bases.substr(0, 65)}));
    options.confidence = 0.0;
    const auto windows = [&](std::size_t row) {
        std::int64_t sum = 0;
        const std::string map = lab.rows("calls")[row][4];
        for (const std::string_view part : split(map, ' ')) {
            sum += std::stoll(std::string(part.substr(part.find(':') + 1)));
        }
        return sum;
    };
    lab.predict(options);
    CHECK(windows(0) == 4);
    CHECK(windows(1) == 2);
    options.step = 1;
    lab.predict(options);
    CHECK(windows(0) == 131);
    options.window = 1000;
    lab.predict(options);
    CHECK(windows(0) == 1);
}

TEST_CASE("classify predict: mates are one sequence, in either order") {
    ClassifyLab& lab = trained_lab();
    std::vector<std::string> first;
    std::vector<std::string> second;
    for (std::uint64_t i = 0; i < 6; ++i) {
        const double gc = i % 2 == 0 ? 0.3 : 0.7;
        first.insert(first.end(), {concat("p", i, "/1"), composed_bases(90, gc, 40 + i)});
        second.insert(second.end(), {concat("p", i, "/2"), composed_bases(50 + i, gc, 60 + i)});
    }
    ClassifyPredictOptions options = lab.prediction("classifier", lab.fasta("r1.fa", first));
    options.reading.inputs.push_back(lab.fasta("r2.fa", second));
    options.paired = true;
    options.confidence = 0.5;
    options.use_names = true;
    options.classified_out = lab.file("called#.fa");
    lab.predict(options);
    const auto calls = lab.rows("calls");
    const std::string probs = lab.text("probs");
    REQUIRE(calls.size() == 6);
    CHECK(calls[1][1] == "p1");
    CHECK(calls[1][2] == "b (taxid 3)");
    CHECK(calls[1][3] == "90|51");
    CHECK(calls[1][4].find(" |:| ") != std::string::npos);
    CHECK(lab.text("called1.fa").find(concat(">p1/1 kraken:taxid|3\n", first[3], "\n")) !=
          std::string::npos);
    CHECK(lab.text("called2.fa").find(second[3]) != std::string::npos);
    std::swap(options.reading.inputs[0], options.reading.inputs[1]);
    lab.predict(options);
    const auto swapped = lab.rows("calls");
    CHECK(swapped[1][2] == calls[1][2]);
    CHECK(lab.rows("probs")[2][2] == std::string(split(split(probs, '\n')[2], '\t')[2]));

    second[4] = "other/2";
    lab.fasta("r2.fa", second);
    CHECK(failure_of([&] { lab.predict(options); }).find("is called 'other/2'") !=
          std::string::npos);
    second.resize(6);
    second[4] = "p2/2";
    lab.fasta("r2.fa", second);
    CHECK(failure_of([&] { lab.predict(options); }).find("has no mate") != std::string::npos);
    options.classified_out = lab.file("called.fa");
    CHECK(failure_of([&] { lab.predict(options); }).find("write # where") != std::string::npos);
}

TEST_CASE("classify predict: a taxonomy of one's own, and what went where") {
    ClassifyLab& lab = trained_lab();
    write_text(lab.file("tree.tsv"),
               "1\t0\tR\troot\t\n10\t1\tG\tGenus\t\n11\t10\tS\tone\ta\n12\t10\tS\ttwo\tb\n");
    const std::vector<std::string> records = reads();
    ClassifyPredictOptions options = lab.prediction("classifier", lab.fasta("reads.fa", records));
    options.taxonomy = lab.file("tree.tsv");
    options.confidence = 0.95;
    options.classified_out = lab.file("c.fa");
    options.unclassified_out = lab.file("u.fa");
    const ClassifyPredictReport report = lab.predict(options);
    for (const auto& call : lab.rows("calls")) {
        CHECK((call[2] == "0" || call[2] == "11" || call[2] == "12"));
    }
    CHECK(lab.text("report").find("\tG\t10\t  Genus\n") != std::string::npos);
    const std::string called = lab.text("c.fa");
    const std::string rest = lab.text("u.fa");
    CHECK(std::count(called.begin(), called.end(), '>') == report.classified);
    CHECK(std::count(rest.begin(), rest.end(), '>') == report.sequences - report.classified);
    for (std::size_t i = 1; i < records.size(); i += 2) {
        CHECK((called.find("\n" + records[i] + "\n") != std::string::npos) !=
              (rest.find("\n" + records[i] + "\n") != std::string::npos));
    }
    CHECK(failure_of([&] {
              ClassifyPredictOptions wrong = lab.prediction("model", lab.file("reads.fa"));
              lab.predict(wrong);
          }).find("this is no classifier") != std::string::npos);
}

}  // namespace mambase::pipelines
