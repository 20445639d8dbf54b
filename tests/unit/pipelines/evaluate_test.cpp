#include "pipelines/evaluate.hpp"

#include "base/file.hpp"
#include "kernels/ops/context.hpp"
#include "model/forward.hpp"
#include "pipelines/engine.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <atomic>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::failure_of;

namespace {

const io::Tokenizer& dna() {
    return io::Tokenizer::named("dna");
}

EvaluateOptions options_for(const test::PipelineLab& lab, const std::vector<std::string>& inputs) {
    EvaluateOptions options;
    options.model = lab.model_dir();
    options.reading.inputs = inputs;
    options.reading.context = kWholeContext;
    options.output = lab.file("out.tsv");
    return options;
}

/// name -> its fields by column.
std::map<std::string, std::map<std::string, std::string>> read_table(const std::string& path) {
    const std::string text = read_text(path);
    std::map<std::string, std::map<std::string, std::string>> out;
    std::vector<std::string_view> columns;
    for (const std::string_view line : split(text, '\n')) {
        const std::vector<std::string_view> fields = split(line, '\t');
        if (columns.empty()) {
            columns = fields;
        } else if (fields.size() == columns.size()) {
            for (std::size_t i = 0; i < fields.size(); ++i) {
                out[std::string(fields[0])][std::string(columns[i])] = fields[i];
            }
        }
    }
    return out;
}

/// Losses of a stretch read in one call, by the definition: base i from all before it.
CaseTally expected_tally(const test::PipelineLab& lab, const std::string& stretch) {
    const Runtime runtime = lab.runtime();
    Engine engine(runtime);
    const model::Model model = model::Model::load(lab.model_dir(), host_allocator());
    std::vector<std::uint8_t> codes(stretch.size());
    dna().encode(stretch, codes.data());
    std::vector<std::uint8_t> ids = codes;
    for (std::uint8_t& id : ids) {
        id &= 0x7F;
    }
    const auto length = static_cast<std::int64_t>(ids.size());
    const std::int64_t vocabulary = model.config().vocab_size;
    std::vector<float> logits(static_cast<std::size_t>(length * vocabulary));
    model::StateBank bank(model.config(), 1, engine.queue());
    model::forward_logits(
        engine.context(), model,
        {.ids = TensorView(ids.data(), DType::u8, {1, length}), .valid = {}, .segment = {}}, bank,
        TensorView(logits.data(), DType::f32, {1, length, vocabulary}));
    CaseTally tally;
    for (std::int64_t t = 1; t < length; ++t) {
        const std::uint8_t code = codes[static_cast<std::size_t>(t)];
        if (!dna().is_acgt(code)) {
            continue;
        }
        const float* const row = logits.data() + (t - 1) * vocabulary;
        double sum = 0.0;
        std::uint8_t best = dna().acgt()[0];
        for (const std::uint8_t id : dna().acgt()) {
            sum += std::exp(static_cast<double>(row[id]));
            best = row[id] > row[best] ? id : best;
        }
        const std::uint8_t id = code & 0x7F;
        tally.add((code & io::kSoftMask) != 0, std::log(sum) - static_cast<double>(row[id]),
                  id == best);
    }
    return tally;
}

void require_close(const Tally& got, const Tally& expected) {
    REQUIRE(got.bases == expected.bases);
    REQUIRE(got.correct == expected.correct);
    REQUIRE(got.nats == Approx(expected.nats).epsilon(1e-9));
}

}  // namespace

TEST_CASE("evaluate scores every base from all before it", "[evaluate]") {
    test::PipelineLab lab(0);
    const std::string a = test::gapped_bases(500, 1, 0, 1);
    const std::string b = test::gapped_bases(300, 2, 0, 1);
    const std::string gap(40, 'N');
    EvaluateOptions options = options_for(lab, {lab.fasta("in.fa", {"x", a + gap + b, "y", b})});
    options.reading.gap = 40;
    const EvaluateReport report = evaluate(options, lab.runtime());

    CaseTally expected = expected_tally(lab, a);
    const CaseTally alone = expected_tally(lab, b);
    expected.add(alone);
    const CaseTally x = expected;
    expected.add(alone);
    require_close(report.all.upper, expected.upper);
    require_close(report.all.lower, expected.lower);
    REQUIRE(report.contigs == 2);
    REQUIRE(report.bases_read == 1140);
    REQUIRE(report.contexts.front().context == kWholeContext);

    const auto table = read_table(options.output);
    REQUIRE(table.size() == 3);
    REQUIRE(table.at("x").at("bases") == concat(x.all().bases));
    REQUIRE(table.at("x").at("bits") == format_fixed(x.all().bits(), 6));
    REQUIRE(table.at("y").at("lower_nats") == format_fixed(alone.lower.mean_nats(), 6));
    REQUIRE(table.at("all").at("perplexity") == format_fixed(expected.all().perplexity(), 6));
    REQUIRE(table.at("all").at("upper_accuracy") == format_fixed(expected.upper.accuracy(), 6));
    REQUIRE(lab.warnings.empty());
    REQUIRE(lab.infos.size() == 2);
    REQUIRE(lab.infos.front().find("x: ") == 0);
    REQUIRE(lab.infos.front().find("IUPAC codes read as N") != std::string::npos);
}

TEST_CASE("evaluate gives the same table for every chunk, thread count and company", "[evaluate]") {
    const test::PipelineLab lab;
    const std::string a = test::gapped_bases(1500, 3, 3, 40);
    const std::string b = test::gapped_bases(700, 4, 1, 40);
    EvaluateOptions options = options_for(lab, {lab.fasta("in.fa", {"x", a, "y", b})});
    options.reading.gap = 30;
    options.reading.context = GENERATE(std::int64_t{0}, std::int64_t{50}, std::int64_t{64});
    evaluate(options, lab.runtime());
    const std::string table = read_text(options.output);
    for (const std::int64_t chunk : {1, 7, 64, 1000}) {
        options.reading.chunk = chunk;
        evaluate(options, lab.runtime(chunk == 7 ? 3 : 1));
        REQUIRE(read_text(options.output) == table);
    }
    const auto together = read_table(options.output);
    options.reading.inputs = {lab.fasta("y.fa", {"y", b}), lab.fasta("x.fa", {"x", a})};
    evaluate(options, lab.runtime());
    const auto apart = read_table(options.output);
    REQUIRE(apart.at("x") == together.at("x"));
    REQUIRE(apart.at("y") == together.at("y"));
}

TEST_CASE("regions count every base once, with the context that surrounds them", "[evaluate]") {
    const test::PipelineLab lab;
    const std::string a = test::gapped_bases(2000, 5, 2, 40);
    EvaluateOptions options = options_for(lab, {lab.fasta("in.fa", {"w", "ACGT", "x", a})});
    options.reading.gap = 30;
    options.reading.context = 64;
    const CaseTally whole = evaluate(options, lab.runtime()).all;
    options.reading.regions = {"x:1,001-2,000", "x:1-600", "x:500-1000", "w"};
    const EvaluateReport report = evaluate(options, lab.runtime());
    REQUIRE(report.contigs == 2);
    require_close(report.all.upper, whole.upper);
    require_close(report.all.lower, whole.lower);
    options.reading.regions = {"x:700-900"};
    const CaseTally alone = evaluate(options, lab.runtime()).all;
    options.reading.regions = {"x:700-900", "x:750-850"};
    require_close(evaluate(options, lab.runtime()).all.upper, alone.upper);
    REQUIRE(alone.all().bases > 100);
    REQUIRE(alone.all().bases <= 201);
}

TEST_CASE("records without bases and without letters have a line", "[evaluate]") {
    test::PipelineLab lab;
    EvaluateOptions options = options_for(
        lab, {lab.fasta("in.fa", {"none", "", "gap", std::string(50, 'N'), "one", "A"})});
    options.reading.gap = 20;
    REQUIRE(evaluate(options, lab.runtime()).all.all().bases == 0);
    const auto table = read_table(options.output);
    REQUIRE(table.size() == 4);
    for (const std::string contig : {"none", "gap", "one", "all"}) {
        REQUIRE(table.at(contig).at("bases") == "0");
        REQUIRE(table.at(contig).at("nats") == "NA");
    }
    REQUIRE(lab.warned_of("none: no bases"));

    options.by = EvaluateOptions::By::all;
    evaluate(options, lab.runtime());
    REQUIRE(read_table(options.output).size() == 1);
}

TEST_CASE("a baseline stands beside the model, on the same bases", "[evaluate]") {
    test::PipelineLab lab;
    const std::string train = lab.fasta("train.fa", {"t", test::markov_bases(20'000, 6)});
    EvaluateOptions options =
        options_for(lab, {lab.fasta("in.fa", {"x", test::gapped_bases(3000, 7, 2, 40)})});
    options.reading.gap = 30;
    options.reading.context = 64;
    options.baseline = {3, 1};
    options.baseline_train = {train};
    const EvaluateReport report = evaluate(options, lab.runtime());
    REQUIRE(report.baselines.size() == 2);
    REQUIRE(report.baselines[0].order == 3);
    REQUIRE(report.baselines[0].tally.upper.bases == report.all.upper.bases);
    REQUIRE(report.baselines[1].tally.lower.bases == report.all.lower.bases);
    REQUIRE(report.baselines[0].tally.all().bits() < report.baselines[1].tally.all().bits());
    REQUIRE(read_table(options.output).at("markov-3").at("bases") ==
            concat(report.all.all().bases));
    REQUIRE(lab.warnings.empty());

    options.baseline_train.clear();
    evaluate(options, lab.runtime());
    REQUIRE(lab.warned_of("fitted on the files that it is scored on"));
}

TEST_CASE("each region asked for has a line, whatever overlaps", "[evaluate]") {
    const test::PipelineLab lab;
    const std::string a = test::gapped_bases(2000, 5, 2, 40);
    EvaluateOptions options = options_for(lab, {lab.fasta("in.fa", {"w", "ACGTTGCA", "x", a})});
    options.reading.gap = 30;
    options.reading.context = GENERATE(std::int64_t{0}, std::int64_t{64});
    write_text(lab.file("in.bed"), "x\t650\t1200\tgene\nx\t0\t100\t.\nw\t2\t8\nx\t1200\t1300\n");
    options.reading.regions = {"x:601-700", "x"};
    options.reading.bed = lab.file("in.bed");
    options.by = EvaluateOptions::By::region;
    const EvaluateReport report = evaluate(options, lab.runtime());
    const std::string text = read_text(options.output);
    std::vector<std::string> names;
    for (const std::string_view line : split(text, '\n')) {
        names.emplace_back(line.substr(0, line.find('\t')));
    }
    REQUIRE(names == std::vector<std::string>{"name", "x:601-700", "x", "gene", "x:1-100", "w:3-8",
                                              "x:1201-1300", "all", ""});
    const auto table = read_table(options.output);
    for (const auto& [name, region] :
         {std::pair{"gene", "x:651-1200"}, std::pair{"x:601-700", "x:601-700"}, std::pair{"x", "x"},
          std::pair{"w:3-8", "w:3-8"}}) {
        options.by = EvaluateOptions::By::all;
        options.reading.regions = {region};
        options.reading.bed.clear();
        evaluate(options, lab.runtime());
        auto alone = read_table(options.output).at("all");
        alone["name"] = name;
        REQUIRE(table.at(name) == alone);
    }
    options.reading.regions = {"x", "w:3-8"};
    REQUIRE(report.all.all().bases == evaluate(options, lab.runtime()).all.all().bases);
}

TEST_CASE("lines by position part the bases by their distance from the reset", "[evaluate]") {
    const test::PipelineLab lab(0);
    const std::string a = test::markov_bases(300, 1);
    const std::string b = test::markov_bases(100, 2);
    EvaluateOptions options =
        options_for(lab, {lab.fasta("in.fa", {"x", a + std::string(40, 'N') + b})});
    options.reading.gap = 40;
    options.by = EvaluateOptions::By::position;
    const EvaluateReport report = evaluate(options, lab.runtime());
    const auto table = read_table(options.output);
    REQUIRE(table.size() == 10);
    const std::vector<std::pair<std::string, int>> expected = {
        {"1", 2},      {"2-3", 4},      {"4-7", 8},       {"8-15", 16},    {"16-31", 32},
        {"32-63", 64}, {"64-127", 100}, {"128-255", 128}, {"256-511", 44}, {"all", 398}};
    for (const auto& [name, bases] : expected) {
        INFO(name);
        REQUIRE(table.at(name).at("bases") == concat(bases));
    }
    // The first class is what the two first bases tell.
    CaseTally first = expected_tally(lab, a.substr(0, 2));
    first.add(expected_tally(lab, b.substr(0, 2)));
    REQUIRE(table.at("1").at("nats") == format_fixed(first.all().mean_nats(), 6));
    REQUIRE(report.contigs == 1);

    options.reading.context = 50;  // windows [0, 100), [50, 150) …: from 50 to 99 after the first
    evaluate(options, lab.runtime());
    const auto windows = read_table(options.output);
    REQUIRE(windows.size() == 8);
    REQUIRE(windows.at("all").at("bases") == "398");
    REQUIRE(windows.at("1").at("bases") == "2");
}

TEST_CASE("contexts are compared on the same bases, block by block", "[evaluate]") {
    const test::PipelineLab lab(0);
    const std::string a = test::gapped_bases(2000, 5, 2, 40);
    const std::string b = test::gapped_bases(700, 4, 1, 40);
    EvaluateOptions options = options_for(lab, {lab.fasta("in.fa", {"x", a, "y", b})});
    options.reading.gap = 30;
    options.baseline = {2};
    options.baseline_train = {lab.fasta("train.fa", {"t", test::markov_bases(5000, 6)})};
    std::vector<std::map<std::string, std::map<std::string, std::string>>> alone;
    const std::vector<std::int64_t> contexts = {8, 100, kWholeContext};
    for (const std::int64_t context : contexts) {
        options.reading.context = context;
        evaluate(options, lab.runtime());
        alone.push_back(read_table(options.output));
    }
    options.reading.context.reset();
    options.contexts = contexts;
    const EvaluateReport report = evaluate(options, lab.runtime());
    const std::string text = read_text(options.output);
    const auto lines = split(text, '\n');
    REQUIRE(lines.size() == 14);  // the head, 4 × 3, and what follows the last
    const std::vector<std::string_view> columns = split(lines[0], '\t');
    REQUIRE(columns.size() == 20);
    for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
        const std::vector<std::string_view> fields = split(lines[i], '\t');
        const std::size_t c = (i - 1) % 3;
        REQUIRE(fields[1] == std::vector<std::string>{"8", "100", "whole"}[c]);
        for (std::size_t column = 2; column < 17; ++column) {
            REQUIRE(fields[column] ==
                    alone[c].at(std::string(fields[0])).at(std::string(columns[column])));
        }
        REQUIRE((fields[17] == "NA") == (c == 0));
        if (fields[0] == "markov-2" && c == 2) {
            REQUIRE(std::abs(std::stod(std::string(fields[17]))) < 0.01);
        }
    }
    for (std::size_t c = 1; c < 3; ++c) {
        const EvaluateReport::At& at = report.contexts[c];
        REQUIRE(at.all.all().bases == report.all.all().bases);
        REQUIRE(at.difference.bits() ==
                Approx(at.all.all().bits() - report.all.all().bits()).epsilon(1e-6));
        REQUIRE(at.difference.blocks == 27);  // of 100 bases, not whole ones where a gap is
        REQUIRE(at.difference.standard_error() > 0.0);
    }
}

TEST_CASE("a paired difference has the error of its blocks", "[evaluate]") {
    PairedDifference paired;
    REQUIRE(std::isnan(paired.standard_error()));
    const double ln2 = std::log(2.0);
    for (const double d : {1.0, 2.0, 4.0, 5.0}) {
        paired.add(d * ln2 * 10.0, 10);
    }
    // Blocks of one size: the mean, and the standard error of a mean of four.
    REQUIRE(paired.bits() == Approx(3.0));
    REQUIRE(paired.standard_error() == Approx(std::sqrt((4.0 + 1.0 + 1.0 + 4.0) / 3.0 / 4.0)));
    PairedDifference other;
    other.add(3.0 * ln2 * 7.0, 7);
    paired.add(other);
    REQUIRE(paired.bits() == Approx(3.0));
    REQUIRE(paired.blocks == 5);
}

TEST_CASE("the context is the model's own unless another is asked for", "[evaluate]") {
    test::PipelineLab lab(64);
    EvaluateOptions options = options_for(lab, {lab.fasta("in.fa", {"x", "ACGTACGTACGTA"})});
    options.reading.context.reset();
    REQUIRE(evaluate(options, lab.runtime()).contexts.front().context == 64);
    options.reading.context = 64;
    evaluate(options, lab.runtime());
    REQUIRE(lab.warnings.empty());
    options.reading.context = 65;
    evaluate(options, lab.runtime());
    REQUIRE(lab.warned_of("context 65 is past the 64 bases"));
    lab.warnings.clear();
    options.reading.context = kWholeContext;
    evaluate(options, lab.runtime());
    REQUIRE(lab.warned_of("context whole is past"));
}

TEST_CASE("evaluate refuses what has no meaning, all at once", "[evaluate]") {
    EvaluateOptions options;
    options.reading.inputs = {"-"};
    options.reading.regions = {"x"};
    options.reading.chunk = -1;
    options.baseline = {13};
    options.contexts = {8, -3};
    options.reading.context = 8;
    options.by = EvaluateOptions::By::position;
    const std::string failure = failure_of([&] { options.validate(); });
    REQUIRE(failure.find("usage: ") == 0);
    for (const std::string part :
         {"a context is 1 to 2^40 bases, or whole, not -3", "one context and a list",
          "the distance from a reset differs", "read once for each context", "no model directory",
          "standard input", "the chunk is at least 1 base, not -1", "baseline is 1 to 12, not 13",
          "a baseline needs files of its own"}) {
        INFO(part << " in " << failure);
        REQUIRE(failure.find(part) != std::string::npos);
    }
    options.reading.regions.clear();
    options.by = EvaluateOptions::By::region;
    REQUIRE(failure_of([&] { options.validate(); }).find("but no regions") != std::string::npos);
}

TEST_CASE("evaluate leaves nothing behind where it fails, is stopped or only plans", "[evaluate]") {
    const test::PipelineLab lab;
    EvaluateOptions options =
        options_for(lab, {lab.fasta("in.fa", {"x", test::markov_bases(300, 8) + "*ACGT"})});
    const auto files = [&] {
        return std::distance(std::filesystem::directory_iterator(lab.directory()),
                             std::filesystem::directory_iterator());
    };
    const auto before = files();
    const std::string failure = failure_of([&] { evaluate(options, lab.runtime()); });
    REQUIRE(failure.find("format: ") == 0);
    REQUIRE(failure.find("in.fa") != std::string::npos);
    REQUIRE(files() == before);

    const std::atomic<int> stop{15};
    Runtime runtime = lab.runtime();
    runtime.stop = &stop;
    options.reading.inputs = {lab.fasta("in.fa", {"x", test::markov_bases(305, 8)})};
    REQUIRE(failure_of([&] { evaluate(options, runtime); }).find("cancelled") == 0);
    REQUIRE(files() == before);

    options.dry_run = true;
    const EvaluateReport report = evaluate(options, lab.runtime());
    REQUIRE(report.plan.find("305 bases in 1 records") != std::string::npos);
    REQUIRE(files() == before);

    options.reading.inputs.push_back(lab.file("absent.fa"));
    REQUIRE(failure_of([&] { evaluate(options, lab.runtime()); }).find("not_found") == 0);
}
