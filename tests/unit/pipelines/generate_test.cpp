#include "pipelines/generate.hpp"

#include "base/file.hpp"
#include "base/rng.hpp"
#include "base/sha256.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/forward.hpp"
#include "pipelines/next_base.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::failure_of;

namespace {

/// Records of a FASTA text, by name, lines joined.
std::map<std::string, std::string> records_of(const std::string& text) {
    std::map<std::string, std::string> out;
    std::string* bases = nullptr;
    for (const std::string_view line : split(text, '\n')) {
        if (line.starts_with('>')) {
            bases = &out[std::string(line.substr(1))];
        } else if (!line.empty()) {
            bases->append(line);
        }
    }
    return out;
}

std::map<std::string, std::string> generated(const GenerateOptions& options,
                                             const test::PipelineLab& lab,
                                             int threads = 1) {
    generate(options, lab.runtime(threads));
    return records_of(read_text(options.output));
}

GenerateOptions options_in(const test::PipelineLab& lab) {
    GenerateOptions options;
    options.model = lab.model_dir();
    options.output = lab.file("out.fa");
    options.length = 40;
    options.sampling.temperature = 30.0;  // the lab's model is very sure of itself
    options.seed = 5;
    return options;
}

/// The same by the definition: the whole prefix read anew for each base.
class NaiveGenerator {
  public:
    explicit NaiveGenerator(const GenerateOptions& options)
        : options_(options), model_(model::Model::load(options.model, host_allocator())) {}

    std::string operator()(const std::string& name, const std::string& prompt) {
        Sha256 hash;
        hash.update(name);
        const CounterRng draws(options_.seed, std::stoull(hash.hex().substr(0, 16), nullptr, 16));
        std::string all = prompt;
        for (std::int64_t t = 0; t < options_.length; ++t) {
            const double u = draws.uniform(static_cast<std::uint64_t>(t));
            const BaseProbabilities next = all.empty() ? kUniformBases : probabilities(all);
            all += "ACGT"[draw_base(next, u)];
        }
        return all.substr(prompt.size());
    }

  private:
    BaseProbabilities probabilities(const std::string& bases) {
        ThreadPool pool(1);
        StepMemory memory(host_allocator());
        ops::Context context(ops::op_table(Device{}), pool, memory);
        model::StateBank bank(model_.config(), 1, host_queue());
        const StepMemory::Scope scope(memory);
        const auto length = std::ssize(bases);
        const TensorView ids = memory.take(DType::u8, {1, length});
        auto* const codes = static_cast<std::uint8_t*>(ids.data());
        io::Tokenizer::named("dna").encode(bases, codes);
        std::for_each_n(codes, length, [](std::uint8_t& code) { code &= 0x7FU; });
        const TensorView logits = memory.take(DType::f32, {1, length, model_.config().vocab_size});
        model::forward_logits(context, model_, {.ids = ids, .valid = {}, .segment = {}}, bank,
                              logits);
        const auto row = logits.as<float, 3>();
        std::array<double, 4> four{};
        for (std::int64_t base = 0; base < 4; ++base) {
            four[static_cast<std::size_t>(base)] = double{row(0, length - 1, 7 + base)};
        }
        return base_probabilities(four, options_.sampling);
    }

    const GenerateOptions& options_;
    model::Model model_;
};

}  // namespace

TEST_CASE("temperature and top-k shape what is drawn", "[generate]") {
    const std::array<double, 4> logits = {1.0, 3.0, 3.0, -2.0};
    const BaseProbabilities plain = base_probabilities(logits, {});
    CHECK(plain[1] == Approx(1.0 / (2.0 + std::exp(-2.0) + std::exp(-5.0))));
    CHECK(plain[0] / plain[1] == Approx(std::exp(-2.0)));
    CHECK(base_probabilities(logits, {.temperature = 2.0, .top_k = 4})[0] /
              base_probabilities(logits, {.temperature = 2.0, .top_k = 4})[1] ==
          Approx(std::exp(-1.0)));
    CHECK(base_probabilities(logits, {.temperature = 1.0, .top_k = 1}) ==
          BaseProbabilities{0.0, 1.0, 0.0, 0.0});
    CHECK(base_probabilities(logits, {.temperature = 1.0, .top_k = 2}) ==
          BaseProbabilities{0.0, 0.5, 0.5, 0.0});
    CHECK(base_probabilities(logits, {.temperature = 1e-300, .top_k = 4}) ==
          BaseProbabilities{0.0, 0.5, 0.5, 0.0});

    CHECK(draw_base(kUniformBases, 0.0) == 0);
    CHECK(draw_base(kUniformBases, 0.25) == 1);
    CHECK(draw_base(kUniformBases, 0.999) == 3);
    CHECK(draw_base({0.0, 1.0, 0.0, 0.0}, 0.0) == 1);
    CHECK(draw_base({0.0, 1.0 - 1e-9, 0.0, 0.0}, 1.0 - 1e-12) == 1);
}

TEST_CASE("what is drawn is what the whole prefix predicts", "[generate]") {
    const test::PipelineLab lab(0);
    GenerateOptions options = options_in(lab);
    options.sampling = GENERATE(Sampling{}, Sampling{.temperature = 30.0, .top_k = 3});
    NaiveGenerator naive(options);

    SECTION("from nothing, more sequences than lanes") {
        options.count = 67;
        const auto records = generated(options, lab);
        REQUIRE(records.size() == 67);
        for (const auto& [name, bases] : records) {
            INFO(name);
            REQUIRE(bases == naive(name, ""));
        }
    }
    SECTION("from a prompt") {
        options.prompt = "ttgACRTNNACGTuACC";
        options.count = 3;
        for (const auto& [name, bases] : generated(options, lab)) {
            INFO(name);
            REQUIRE(bases == naive(name, options.prompt));
        }
    }
    SECTION("from a file of prompts, longer than a chunk or without bases") {
        const std::string chromosome = test::markov_bases(8192 + 700, 3);
        options.prompt_file = lab.fasta("p.fa", {"a", "ACGT", "none", "", "b", chromosome});
        options.count = 2;
        const auto records = generated(options, lab);
        REQUIRE(records.size() == 6);
        CHECK(records.at("a_1") == naive("a_1", "ACGT"));
        CHECK(records.at("a_2") == naive("a_2", "ACGT"));
        CHECK(records.at("none_2") == naive("none_2", ""));
        options.length = 3;
        CHECK(records.at("b_1").substr(0, 3) == naive("b_1", chromosome));
        CHECK(lab.warned_of("none: no bases"));
    }
}

TEST_CASE("a sequence does not depend on what is generated beside it", "[generate]") {
    const test::PipelineLab lab(0);
    GenerateOptions options = options_in(lab);
    options.count = 70;
    const auto many = generated(options, lab);
    CHECK(generated(options, lab, 4) == many);
    std::map<std::string, int> distinct;
    for (const auto& [name, bases] : many) {
        ++distinct[bases];
    }
    CHECK(distinct.size() == 70);
    options.count = 2;
    const auto two = generated(options, lab);
    CHECK(two.at("sequence_1") == many.at("sequence_1"));
    CHECK(two.at("sequence_2") == many.at("sequence_2"));
    options.length = 7;
    CHECK(generated(options, lab).at("sequence_2") == many.at("sequence_2").substr(0, 7));
    options.seed = 6;
    CHECK(generated(options, lab).at("sequence_2") != many.at("sequence_2").substr(0, 7));

    options = options_in(lab);
    options.prompt_file = lab.fasta("ab.fa", {"a", "ACGT", "b", "ACGT"});
    const auto both = generated(options, lab);
    CHECK(both.at("a_1") != both.at("b_1"));
    options.prompt_file = lab.fasta("b.fa", {"b", "ACGT"});
    CHECK(generated(options, lab).at("b_1") == both.at("b_1"));
}

TEST_CASE("lines are of 60 bases, and the context is minded", "[generate]") {
    const test::PipelineLab lab(64);
    GenerateOptions options = options_in(lab);
    options.prompt = "ACGT";
    options.length = 60;
    const GenerateReport report = generate(options, lab.runtime());
    CHECK(report.sequences == 1);
    CHECK(report.bases == 60);
    CHECK(read_text(options.output).size() == 12 + 61);
    CHECK(lab.warnings.empty());
    options.length = 61;
    generate(options, lab.runtime());
    CHECK(read_text(options.output).size() == 12 + 63);
    CHECK(lab.warned_of("the last of 65 bases is past the 64 bases"));
    options.dry_run = true;
    options.output = lab.file("none.fa");
    CHECK(generate(options, lab.runtime()).plan.find("sequences: 1 of 61 bases") == 0);
    CHECK_FALSE(exists(options.output));
}

TEST_CASE("generate says what is wrong and leaves nothing behind", "[generate]") {
    const test::PipelineLab lab;
    GenerateOptions options = options_in(lab);
    const auto failure = [&] { return failure_of([&] { generate(options, lab.runtime()); }); };

    options.prompt = "ACG-T";
    CHECK(failure().find("usage: base 4 of the prompt is no nucleotide code") == 0);
    options.prompt_file = "x.fa";
    options.sampling = {.temperature = 0.0, .top_k = 5};
    options.count = 0;
    options.length = 0;
    const std::string all = failure();
    CHECK(all.find("at least 1, not 0") != std::string::npos);
    CHECK(all.find("the length is at least 1 base") != std::string::npos);
    CHECK(all.find("one of them") != std::string::npos);
    CHECK(all.find("the temperature is above 0, not 0") != std::string::npos);
    CHECK(all.find("top-k is 1 to 4 bases, not 5") != std::string::npos);

    options = options_in(lab);
    options.prompt_file = lab.file("prompts.fq");
    write_text(options.prompt_file, "@r\nACGT\n+\nIIII\n@r\nACGA\n+\nIIII\n");
    CHECK(failure().find("prompts.fq: record 1 (r): a prompt of this name was there before") !=
          std::string::npos);
    write_text(options.prompt_file, ">x\nACG*\n");
    CHECK(failure().find("prompts.fq") != std::string::npos);
    CHECK_FALSE(exists(options.output));
}

TEST_CASE("a model that runs away is told of", "[generate]") {
    const test::PipelineLab lab;
    model::Model model = model::Model::load(lab.model_dir(), host_allocator());
    for (model::Param& param : model.params()) {
        if (param.name.find("x_proj") != std::string::npos) {
            std::fill_n(static_cast<float*>(param.value.view().data()), param.shape.count(), 3e38F);
        }
    }
    model::save_model(lab.file("wild"), model);
    GenerateOptions options = options_in(lab);
    options.model = lab.file("wild");
    CHECK(failure_of([&] {
              generate(options, lab.runtime());
          }).find("format: what the model says of the next base is not finite") == 0);
}
