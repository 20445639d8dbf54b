#include "pipelines/pretrain.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "kernels/ops/context.hpp"
#include "model/model.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/pretrain_lab.hpp"
#include "tests/support/synthetic_fasta.hpp"

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
using mambase::test::names_in;
using Lab = mambase::test::PretrainLab;

namespace {

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
    REQUIRE(report.context);
    CHECK(model.provenance()->context == report.context->context);
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

TEST_CASE("Regions to train and to validate on", "[pretrain]") {
    Lab lab;
    const std::string bed = lab.dir("valid.bed");
    write_text(bed, "chr\t10000\t14000\nchr\t20000\t20050\n");
    PretrainOptions options = lab.options("out");
    options.valid_bed = bed;
    options.steps = 3;
    const PretrainReport report = lab.run(options);
    CHECK(lab.said().find("1 of 2 regions to validate on are shorter than a window of 96") !=
          std::string::npos);
    REQUIRE(report.valid_bits);
    const auto record = nlohmann::json::parse(lab.file("out", "run.json"));
    CHECK(record["data"]["valid_bases"] == 4050);
    CHECK(record["data"]["train_bases"] == 40'000 - 4050 - 4 * 96);
    CHECK(record["data"]["valid_windows"] == 41);

    options.train_contigs = {"chr"};
    CHECK(lab.error_of(options).find("share 4,050 bases, the first of them chr:10001-14000") !=
          std::string::npos);
    options.train_contigs = {"chr2"};
    CHECK(lab.error_of(options).find("chr2") != std::string::npos);
    options.train_contigs.clear();
    write_text(bed, "chr\t10000\t14000\n");
    CHECK(lab.error_of(options).find("valid was 4,050 bases, ") != std::string::npos);
}

TEST_CASE("Reads are trained on, and may share names", "[pretrain]") {
    Lab lab;
    std::string reads;
    for (std::uint64_t i = 0; i < 40; ++i) {
        const std::string bases = test::markov_bases(200, i);
        reads += concat("@read\n", bases, "\n+\n", std::string(bases.size(), 'I'), "\n");
    }
    write_text(lab.input(), reads);
    PretrainOptions options = lab.options("out");
    options.steps = 2;
    CHECK(lab.run(options).end == PretrainEnd::finished);
    CHECK(lab.said().find("40 contigs, 4,160 windows to draw from") != std::string::npos);
}

TEST_CASE("Carried lanes: the same bytes whatever the threads and chunk, and after a stop",
          "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("whole");
    options.context = 300;
    options.carry = 0.6;
    lab.run(options, 1);
    const std::string weights = lab.file("whole", "model.safetensors");
    PretrainOptions other = options;
    other.output = lab.dir("jumping");
    other.carry = 0.0;
    lab.run(other);
    CHECK(lab.file("jumping", "model.safetensors") != weights);

    options.output = lab.dir("stopped");
    options.chunk = 128;
    lab.stop_at("5");
    lab.run(options, 3);
    lab.stop_at("13");
    lab.run(options, 2);
    lab.stop_at("");
    options.chunk = 0;
    CHECK(lab.run(options).first_step == 13);
    for (const char* const file :
         {"model.safetensors", "train_state.safetensors", "metrics.jsonl", "run.json"}) {
        INFO(file);
        CHECK(lab.file("stopped", file) == lab.file("whole", file));
    }
    options.carry = 0.5;
    CHECK(lab.error_of(options).find("carry was 0.6, is 0.5") != std::string::npos);
}

TEST_CASE("The validated context is measured as evaluate reads it", "[pretrain]") {
    Lab lab;
    const PretrainReport report = lab.run(lab.options("out"));
    REQUIRE(report.context);
    REQUIRE(report.context->trials.size() == 3);
    std::int64_t longest = 96;
    for (const ContextTrial& trial : report.context->trials) {
        // The last 2,000 bases hold 20 blocks of the grid, of which a short run reads 16.
        EvaluateOptions options;
        options.model = lab.dir("out");
        options.output = lab.dir("table.tsv");
        options.reading.inputs = {lab.input()};
        for (std::int64_t i = 0; i < 16; ++i) {
            const std::int64_t begin = 38'016 + i * 20 / 16 * 96;
            options.reading.regions.push_back(concat("chr:", begin + 1, "-", begin + 96));
        }
        options.reading.context = trial.context;
        const Observer quiet;
        const Runtime runtime{.threads = 2, .device = {}, .observer = quiet, .command_line = {}};
        const double longer = evaluate(options, runtime).all.all().mean_nats();
        options.reading.context = 96;
        const double first = evaluate(options, runtime).all.all().mean_nats();
        INFO("context " << trial.context);
        CHECK(trial.blocks == 16);
        CHECK(trial.bases == 16 * 96);
        CHECK(trial.nats == Approx(longer).epsilon(1e-12));
        CHECK(trial.difference == Approx(longer - first).epsilon(1e-6).margin(1e-9));
        CHECK(trial.standard_error > 0.0);
        longest = trial.is_worse() ? longest : trial.context;
    }
    CHECK(report.context->context == (longest == 64 * 96 ? 0 : longest));
    CHECK(model::Model::load(lab.dir("out"), host_allocator()).provenance()->context ==
          report.context->context);
    const auto record = nlohmann::json::parse(lab.file("out", "run.json"));
    CHECK(record["outcome"]["context"]["trials"].size() == 3);
}

TEST_CASE("Contexts that there is no sequence for are not validated", "[pretrain]") {
    Lab lab(test::markov_bases(2200, 1) + std::string(1500, 'N') + test::markov_bases(5000, 2));
    PretrainOptions options = lab.options("out");
    options.context = 20;
    options.valid_bed = lab.dir("valid.bed");
    // Behind the gap, which ends at 3,700: 640 bases for a state 16 contexts back, not 64.
    write_text(options.valid_bed, "chr\t4500\t5000\n");
    const PretrainReport report = lab.run(options);
    REQUIRE(report.context);
    REQUIRE(report.context->trials.size() == 2);
    CHECK(report.context->trials[1].context == 320);
    CHECK(report.context->context > 0);
}

TEST_CASE("What a fresh model is made of", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("out");
    options.steps = 1;
    options.bias = true;
    options.no_conv_bias = true;
    options.untie = true;
    options.norm_eps = 1e-6;
    options.dt_min = 0.01;
    options.dt_max = 0.02;
    options.dt_init = "constant";
    options.dt_scale = 0.5;
    lab.run(options);
    const auto model = model::Model::load(lab.dir("out"), host_allocator());
    const model::ModelConfig& config = model.config();
    CHECK(config.use_bias);
    CHECK_FALSE(config.use_conv_bias);
    CHECK_FALSE(config.tie_embeddings);
    CHECK(config.norm_eps == 1e-6F);
    CHECK(config.dt_min == 0.01);
    CHECK(config.dt_max == 0.02);
    CHECK(config.dt_init_constant);
    CHECK(config.dt_scale == 0.5);
    const auto weights = model.params()
                             .find("backbone.layers.0.mixer.dt_proj.weight")
                             ->value.view()
                             .as<const float, 2>();
    CHECK(weights(0, 0) == Approx(0.5).margin(0.02));  // R = 1; one step at most moved it
    PretrainOptions more = lab.options("more");
    more.model = lab.dir("out");
    more.d_model.reset();
    more.layers.reset();
    more.bias = true;
    CHECK(lab.error_of(more).find("are what the model says") != std::string::npos);
}
