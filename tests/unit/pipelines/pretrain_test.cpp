#include "pipelines/pretrain.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "kernels/ops/context.hpp"
#include "model/model.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/synthetic_fasta.hpp"
#include "tests/support/temp_dir.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::fasta_record;

namespace {

/// A small genome in a directory of its own, and runs on it.
class Lab {
  public:
    explicit Lab(const std::string& bases = test::markov_bases(40'000, 3)) {
        write_text(input(), fasta_record("chr", bases));
        observer_.on_progress = [this](std::string_view text) {
            if (!stop_at_.empty() && text.rfind(concat("step ", stop_at_, "/"), 0) == 0) {
                stop_ = 10;
            }
        };
        observer_.on_info = [this](std::string_view text) { said_ += concat(text, "\n"); };
        observer_.on_warning = [this](std::string_view text) {
            said_ += concat("warning: ", text, "\n");
        };
    }

    /// Twenty steps of a model of 16 × 2.
    PretrainOptions options(const std::string& name) const {
        PretrainOptions out;
        out.inputs = {input()};
        out.output = dir(name);
        out.d_model = 16;
        out.layers = 2;
        out.context = 96;
        out.batch = 6;
        out.steps = 20;
        out.eval_every = 8;
        out.seed = 5;
        return out;
    }
    PretrainReport run(const PretrainOptions& options, int threads = 1, Device device = {}) {
        said_.clear();
        stop_ = 0;
        const Runtime runtime{.threads = threads,
                              .device = device,
                              .observer = observer_,
                              .stop = &stop_,
                              .no_pg = true,
                              .command_line = "test"};
        return pretrain(options, runtime);
    }
    std::string error_of(const PretrainOptions& options) {
        try {
            run(options);
        } catch (const Error& error) {
            return error.what();
        }
        return "no error";
    }
    /// As if a signal came during that step; empty: never.
    void stop_at(const std::string& step) { stop_at_ = step; }
    const std::string& said() const { return said_; }

    std::string input() const { return temp_.file("in.fa"); }
    std::string dir(const std::string& name) const { return temp_.file(name); }
    std::string file(const std::string& name, const std::string& file) const {
        return read_text(temp_.file(name) + "/" + file);
    }

  private:
    test::TempDir temp_;
    Observer observer_;
    std::atomic<int> stop_{0};
    std::string stop_at_;
    std::string said_;
};

std::vector<std::string> names_in(const std::string& dir) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(dir)) {
        out.push_back(entry.path().filename().string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

/// "1.5 GB" and what follows it.
double megabytes(const std::string& text) {
    char* unit = nullptr;
    const double number = std::strtod(text.c_str(), &unit);
    return number * (unit[1] == 'G' ? 1024.0 : unit[1] == 'M' ? 1.0 : 0.0);
}

}  // namespace

TEST_CASE("A periodic sequence is learnt", "[pretrain]") {
    Lab lab(test::periodic_bases("ACGGTCATTGC", 30'000));
    PretrainOptions options = lab.options("out");
    options.steps = 150;
    options.lr = 1e-2;
    options.both_strands = false;
    const PretrainReport report = lab.run(options);
    CHECK(report.end == PretrainEnd::finished);
    CHECK(report.steps_done == 150);
    CHECK(report.bases_done == 150 * 6 * 96);
    REQUIRE(report.train_bits);
    CHECK(*report.train_bits < 0.5);
    REQUIRE(report.valid_bits);
    CHECK(*report.valid_bits < 0.5);
}

TEST_CASE("A run fills its directory", "[pretrain]") {
    Lab lab;
    const PretrainReport report = lab.run(lab.options("out"));
    CHECK(names_in(lab.dir("out")) == std::vector<std::string>{"config.json", "metrics.jsonl",
                                                               "model.safetensors", "run.json",
                                                               "train_state.safetensors"});
    const auto model = model::Model::load(lab.dir("out"), host_allocator());
    CHECK(model.hash() == report.model_hash);
    REQUIRE(model.provenance());
    CHECK(model.provenance()->tokenizer == "dna");
    CHECK(model.provenance()->context == 96);
    CHECK(model.provenance()->seed == 5);
    CHECK(model.provenance()->steps == report.best_step);
    const auto record = nlohmann::json::parse(lab.file("out", "run.json"));
    CHECK(record["options"]["input"] == model.provenance()->training_data);
    CHECK(record["outcome"]["end"] == "finished");
    CHECK(record["data"]["bases"] == 40'000);
    CHECK_FALSE(record.contains("command_line"));

    std::int64_t steps = 0;
    std::vector<std::int64_t> validations;
    const std::string log = lab.file("out", "metrics.jsonl");
    for (const std::string_view line :
         split(std::string_view(log).substr(0, log.size() - 1), '\n')) {
        const auto json = nlohmann::json::parse(line);
        if (json.contains("valid_loss")) {
            validations.push_back(json["step"]);
        } else {
            CHECK(json["step"] == ++steps);
            CHECK(json["loss"] < 3.0);
        }
    }
    CHECK(steps == 20);
    CHECK(validations == std::vector<std::int64_t>{8, 16, 20});
}

TEST_CASE("Weights do not depend on threads nor on the chunk", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("whole");
    options.context = 700;  // three gradient tiles, the last one short
    options.batch = 2;
    lab.run(options, 1);
    options.output = lab.dir("threads");
    lab.run(options, 4);
    options.output = lab.dir("chunks");
    options.chunk = 256;
    lab.run(options, 3);
    for (const char* const other : {"threads", "chunks"}) {
        for (const char* const file :
             {"model.safetensors", "train_state.safetensors", "metrics.jsonl", "run.json"}) {
            INFO(other << " " << file);
            CHECK(lab.file(other, file) == lab.file("whole", file));
        }
    }
}

TEST_CASE("A batch in several lots of lanes has the loss of all its windows", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("out");
    options.context = 3000;
    options.batch = 5;  // lots of 2, 2 and 1
    options.steps = 2;
    lab.run(options, 2);
    const std::string log = lab.file("out", "metrics.jsonl");
    const auto first = nlohmann::json::parse(log.substr(0, log.find('\n')));
    CHECK(first["bases"] == 15'000);
    CHECK(first["loss"].get<double>() == Approx(std::log(16.0)).epsilon(0.1));
}

TEST_CASE("A stopped run goes on to the same bytes", "[pretrain]") {
    Lab lab;
    lab.run(lab.options("unbroken"));
    const std::string stop = GENERATE("1", "8", "11", "19");
    INFO("stopped at step " << stop);
    PretrainOptions options = lab.options("stopped");
    lab.stop_at(stop);
    const PretrainReport first = lab.run(options);
    CHECK(first.end == PretrainEnd::signalled);
    CHECK(concat(first.steps_done) == stop);
    CHECK_FALSE(exists(lab.dir("stopped") + "/model.safetensors"));
    lab.stop_at("");
    options.chunk = 32;  // may differ
    const PretrainReport second = lab.run(options, 2);
    CHECK(second.end == PretrainEnd::finished);
    CHECK(concat(second.first_step) == stop);
    for (const char* const file : {"config.json", "model.safetensors", "train_state.safetensors",
                                   "metrics.jsonl", "run.json"}) {
        INFO(file);
        CHECK(lab.file("stopped", file) == lab.file("unbroken", file));
    }
    std::filesystem::remove_all(lab.dir("stopped"));
}

TEST_CASE("A time limit stops after whole steps, and run after run ends", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("out");
    options.steps = 3;
    options.max_time = 1e-9;
    CHECK(lab.run(options).end == PretrainEnd::time_up);
    CHECK(lab.run(options).steps_done == 2);
    const PretrainReport last = lab.run(options);
    CHECK(last.end == PretrainEnd::finished);
    options.output = lab.dir("unbroken");
    options.max_time.reset();
    lab.run(options);
    CHECK(lab.file("out", "model.safetensors") == lab.file("unbroken", "model.safetensors"));
}

TEST_CASE("A finished run is done, its model is written again", "[pretrain]") {
    Lab lab;
    const PretrainReport first = lab.run(lab.options("out"));
    const std::string weights = lab.file("out", "model.safetensors");
    std::filesystem::remove(lab.dir("out") + "/model.safetensors");
    const PretrainReport again = lab.run(lab.options("out"));
    CHECK(again.end == PretrainEnd::finished);
    CHECK(again.first_step == 20);
    CHECK(again.model_hash == first.model_hash);
    CHECK(lab.file("out", "model.safetensors") == weights);
}

TEST_CASE("What is in the output directory is not overwritten", "[pretrain]") {
    Lab lab;
    lab.run(lab.options("out"));
    PretrainOptions options = lab.options("out");
    options.resume = "never";
    CHECK(lab.error_of(options).find("another output directory") != std::string::npos);
    options.resume = "auto";
    options.lr = 1e-4;
    options.batch = 7;
    const std::string refused = lab.error_of(options);
    INFO(refused);
    CHECK(refused.find("batch was 6, is 7; lr was 0.005, is 1e-04; min-lr was") !=
          std::string::npos);
    model::save_model(lab.dir("only_a_model"),
                      model::Model::load(lab.dir("out"), host_allocator()));
    CHECK(lab.error_of(lab.options("only_a_model")).find("another output directory") !=
          std::string::npos);
}

TEST_CASE("A run goes on in another directory, and from a model", "[pretrain]") {
    Lab lab;
    lab.stop_at("9");
    lab.run(lab.options("first"));
    lab.stop_at("");
    PretrainOptions options = lab.options("second");
    options.resume = lab.dir("first");
    CHECK(lab.run(options).first_step == 9);
    lab.run(lab.options("unbroken"));
    CHECK(lab.file("second", "model.safetensors") == lab.file("unbroken", "model.safetensors"));
    CHECK(lab.file("second", "metrics.jsonl") == lab.file("unbroken", "metrics.jsonl"));

    PretrainOptions more = lab.options("more");
    more.model = lab.dir("second");
    more.d_model.reset();
    more.layers.reset();
    more.context.reset();  // the model's
    const PretrainReport report = lab.run(more);
    CHECK(report.bases_done == 20 * 6 * 96);
    const auto first_loss = [&](const char* name) {
        const std::string log = lab.file(name, "metrics.jsonl");
        return nlohmann::json::parse(log.substr(0, log.find('\n')))["loss"].get<double>();
    };
    CHECK(first_loss("more") < first_loss("unbroken") - 0.5);
}

TEST_CASE("Other input is other options", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("out");
    lab.stop_at("2");
    lab.run(options);
    write_text(lab.input(), fasta_record("chr", test::markov_bases(40'000, 4)));
    CHECK(lab.error_of(options).find("input was ") != std::string::npos);
}

TEST_CASE("A dry run writes nothing and says what it would", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("out");
    options.dry_run = true;
    const PretrainReport report = lab.run(options);
    CHECK(report.end == PretrainEnd::dry_run);
    CHECK(report.plan.find("would take") != std::string::npos);
    CHECK(report.plan.find("for 20 steps") != std::string::npos);
    CHECK_FALSE(exists(lab.dir("out")));
}

TEST_CASE("A dry run plans what the device then holds, within a tenth", "[.gpu][pretrain]") {
    if (ops::device_count(Device::Kind::cuda) == 0) {
        std::printf("SKIP: no CUDA device\n");
        return;
    }
    Lab lab;
    PretrainOptions options = lab.options("out");
    options.d_model = 64;
    options.context = 20'000;
    options.batch = 2;
    options.chunk = 8192;
    options.steps = 2;
    options.eval_every = 2;
    std::string planned;
    for (const bool dry_run : {true, false}) {
        options.dry_run = dry_run;
        const PretrainReport report = lab.run(options, 1, {Device::Kind::cuda, 0});
        if (dry_run) {
            const std::size_t at = report.plan.find("  in all");
            REQUIRE(at != std::string::npos);
            planned = report.plan.substr(report.plan.rfind('\n', at) + 1);
        }
        const std::string held = lab.said().substr(lab.said().find("peak device memory: ") + 20);
        INFO("planned " << planned << ", held " << held);
        CHECK(megabytes(held) == Approx(megabytes(planned)).epsilon(0.1));
    }
}

TEST_CASE("Little input: no validation, the last model is kept", "[pretrain]") {
    Lab lab(test::markov_bases(3000, 1));
    const PretrainReport report = lab.run(lab.options("out"));
    CHECK(lab.said().find("warning: fewer than 10 windows could be held out") != std::string::npos);
    CHECK_FALSE(report.valid_bits);
    CHECK(model::Model::load(lab.dir("out"), host_allocator()).provenance()->steps == 20);
    Lab less("ACGTACGT");
    CHECK(less.error_of(less.options("out")).find("no stretch of the sequence holds a window") !=
          std::string::npos);
    CHECK_FALSE(exists(less.dir("out")));
}

TEST_CASE("Lower case weighs what mask_weight says, N nothing", "[pretrain]") {
    Lab lab(std::string(20'000, 'n') + std::string(20'000, 'a'));
    PretrainOptions options = lab.options("out");
    options.mask_weight = 0.0;
    CHECK(lab.error_of(options).find("no window has a base to learn from") != std::string::npos);
    options.output = lab.dir("weighed");
    options.mask_weight = 0.1;
    CHECK(lab.run(options).end == PretrainEnd::finished);
}

TEST_CASE("All violated rules in one message", "[pretrain]") {
    PretrainOptions options;
    options.steps = 0;
    options.bases = 10;
    options.preset = "tiny";
    options.model = "dir";
    options.d_model = 8;
    options.mask_weight = 2.0;
    options.warmup = 1.0;
    options.beta1 = 1.5;
    options.chunk = -1;
    options.max_time = 0.0;
    try {
        options.validate();
        FAIL("no error");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::usage);
        const std::string text = error.what();
        for (const char* const part :
             {"no input file", "the output is a directory", "exclude each other", "d-model is what",
              "steps is from 1", "steps and bases", "chunk", "max-time", "mask-weight", "warmup",
              "beta1"}) {
            INFO(part << " in " << text);
            CHECK(text.find(part) != std::string::npos);
        }
    }
}
