#include "pipelines/score.hpp"

#include "base/file.hpp"
#include "model/forward.hpp"
#include "pipelines/base_scores.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/evaluate.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::failure_of;

namespace {

const io::Tokenizer& dna() {
    return io::Tokenizer::named("dna");
}

ScoreOptions options_for(const test::PipelineLab& lab, const std::vector<std::string>& inputs) {
    ScoreOptions options;
    options.model = lab.model_dir();
    options.reading.inputs = inputs;
    options.reading.context = kWholeContext;
    options.output = lab.file("out.tsv");
    return options;
}

struct Value {
    std::string contig;
    std::int64_t begin;
    std::int64_t end;
    double value;
};

std::vector<Value> read_values(const std::string& path) {
    const std::string text = read_text(path);
    std::vector<Value> out;
    for (const std::string_view line : split(text, '\n')) {
        const std::vector<std::string_view> fields = split(line, '\t');
        if (fields.size() == 4 && fields[1] != "start") {
            const auto number = [&](std::size_t i) { return std::string(fields[i]); };
            out.push_back({number(0), std::stoll(number(1)), std::stoll(number(2)),
                           std::strtod(number(3).c_str(), nullptr)});
        }
    }
    return out;
}

/// What `score` writes, line by line without the header.
std::vector<std::string> lines_of(const ScoreOptions& options, const test::PipelineLab& lab) {
    score(options, lab.runtime());
    const std::string text = read_text(options.output);
    std::vector<std::string> out;
    for (const std::string_view line : split(text, '\n')) {
        out.emplace_back(line);
    }
    out.erase(out.begin());
    out.pop_back();
    return out;
}

using Distribution = std::array<double, 4>;

/// p(A, C, G, T) at each base of a stretch from all before it, by the definition; the first base
/// has none.
std::vector<Distribution> predictions(const test::PipelineLab& lab, const std::string& stretch) {
    const Runtime runtime = lab.runtime();
    Engine engine(runtime);
    const model::Model model = model::Model::load(lab.model_dir(), host_allocator());
    std::vector<std::uint8_t> ids(stretch.size());
    dna().encode(stretch, ids.data());
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
    std::vector<Distribution> out(stretch.size());
    for (std::size_t t = 1; t < stretch.size(); ++t) {
        double sum = 0.0;
        for (std::size_t i = 0; i < 4; ++i) {
            const auto at = (t - 1) * static_cast<std::size_t>(vocabulary) + dna().acgt()[i];
            out[t][i] = std::exp(static_cast<double>(logits[at]));
            sum += out[t][i];
        }
        for (double& p : out[t]) {
            p /= sum;
        }
    }
    return out;
}

std::size_t letter(char base) {
    return std::string("ACGT").find(static_cast<char>(std::toupper(base)));
}

struct Prediction {
    Distribution p{};
    bool is_there = false;
};

/// The distribution of each base of a stretch that is its own contig.
std::vector<Prediction> expected(const test::PipelineLab& lab,
                                 const std::string& stretch,
                                 ScoreStrand strand) {
    const std::vector<Distribution> forward = predictions(lab, stretch);
    const std::vector<Distribution> reverse = predictions(lab, test::mirrored_bases(stretch));
    Distribution composition{1, 1, 1, 1};
    double all = 4;
    for (const char base : stretch) {
        if (letter(base) < 4) {
            composition[letter(base)] += 1;
            all += 1;
        }
    }
    std::vector<Prediction> out(stretch.size());
    for (std::size_t t = 0; t < stretch.size(); ++t) {
        const bool left = strand != ScoreStrand::reverse && t > 0;
        const bool right = strand != ScoreStrand::forward && t + 1 < stretch.size();
        double sum = 0.0;
        for (std::size_t i = 0; i < 4; ++i) {
            const double l = left ? forward[t][i] : 1.0;
            const double r = right ? reverse[stretch.size() - 1 - t][3 - i] : 1.0;
            out[t].p[i] = l * r / (left && right ? composition[i] / all : 1.0);
            sum += out[t].p[i];
        }
        for (double& p : out[t].p) {
            p /= sum;
        }
        out[t].is_there = (left || right) && letter(stretch[t]) < 4;
    }
    return out;
}

double value_of(const Prediction& prediction, char base, ScoreWhat what) {
    if (what == ScoreWhat::logp) {
        return std::log(prediction.p[letter(base)]);
    }
    double entropy = 0.0;
    for (const double p : prediction.p) {
        entropy -= p * std::log(p);
    }
    return entropy;
}

}  // namespace

TEST_CASE("score: each base as the definition has it", "[score]") {
    test::PipelineLab lab(0);
    const ScoreStrand strand =
        GENERATE(ScoreStrand::both, ScoreStrand::forward, ScoreStrand::reverse);
    const ScoreWhat what = GENERATE(ScoreWhat::logp, ScoreWhat::entropy);
    const std::string bases = test::gapped_bases(400, 1, 0, 1);
    ScoreOptions options = options_for(lab, {lab.fasta("in.fa", {"x", bases, "y", bases})});
    options.strand = strand;
    options.what = what;
    const ScoreReport report = score(options, lab.runtime());

    const std::vector<Prediction> predicted = expected(lab, bases, strand);
    const std::vector<Value> values = read_values(options.output);
    std::size_t next = 0;
    double sum = 0.0;
    for (const std::string name : {"x", "y"}) {
        for (std::size_t t = 0; t < bases.size(); ++t) {
            if (!predicted[t].is_there) {
                continue;
            }
            REQUIRE(next < values.size());
            const Value& value = values[next++];
            REQUIRE(
                std::tuple(value.contig, value.begin, value.end) ==
                std::tuple(name, static_cast<std::int64_t>(t), static_cast<std::int64_t>(t + 1)));
            REQUIRE(value.value == Approx(value_of(predicted[t], bases[t], what)).epsilon(1e-6));
            sum += value.value;
        }
    }
    REQUIRE(next == values.size());
    REQUIRE(report.records == 2);
    REQUIRE(report.scored == static_cast<std::int64_t>(values.size()));
    REQUIRE(report.values == report.scored);
    REQUIRE(report.sum == Approx(sum).epsilon(1e-6));
}

TEST_CASE("score: the composition is that of the whole contig, gaps part runs", "[score]") {
    test::PipelineLab lab(0);
    const std::string a = test::gapped_bases(120, 3, 0, 1);
    const std::string b(200, 'A');
    ScoreOptions options =
        options_for(lab, {lab.fasta("in.fa", {"x", a + std::string(40, 'N') + b + "NNN"})});
    options.reading.gap = 40;
    score(options, lab.runtime());
    const std::vector<Value> values = read_values(options.output);
    // The first run alone, with the letters of both.
    LetterCounts counts{0, 0, 0, 0};
    for (const char base : a + b) {
        if (letter(base) < 4) {
            ++counts[letter(base)];
        }
    }
    const LetterLogits log_p = log_composition(counts);
    const std::vector<Distribution> forward = predictions(lab, a);
    const std::vector<Distribution> reverse = predictions(lab, test::mirrored_bases(a));
    std::size_t next = 0;
    for (std::size_t t = 0; t < a.size(); ++t) {
        if (letter(a[t]) == std::string::npos) {
            continue;
        }
        Distribution p{};
        double sum = 0.0;
        for (std::size_t i = 0; i < 4; ++i) {
            p[i] = t == 0 ? reverse[a.size() - 1][3 - i]
                   : t + 1 == a.size()
                       ? forward[t][i]
                       : forward[t][i] * reverse[a.size() - 1 - t][3 - i] / std::exp(log_p[i]);
            sum += p[i];
        }
        REQUIRE(values[next].begin == static_cast<std::int64_t>(t));
        REQUIRE(values[next].value == Approx(std::log(p[letter(a[t])] / sum)).epsilon(1e-6));
        ++next;
    }
    REQUIRE(values[next].begin == 160);
    REQUIRE(values.back().end == 360);
    REQUIRE(values.size() == next + 200);
}

TEST_CASE("score: the forward strand sums to what evaluate measures", "[score]") {
    test::PipelineLab lab;
    const std::string input = lab.fasta(
        "in.fa", {"x", test::gapped_bases(3000, 5, 4, 45), "y", test::gapped_bases(700, 6, 1, 45)});
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{64});
    ScoreOptions options = options_for(lab, {input});
    options.strand = ScoreStrand::forward;
    options.reading.gap = 30;
    options.reading.context = context;
    const ScoreReport report = score(options, lab.runtime());
    EvaluateOptions measured;
    measured.model = lab.model_dir();
    measured.reading = options.reading;
    measured.output = lab.file("evaluate.tsv");
    const Tally all = evaluate(measured, lab.runtime()).all.all();
    REQUIRE(report.scored == all.bases);
    REQUIRE(-report.sum == Approx(all.nats).epsilon(1e-12));
    double written = 0.0;
    for (const Value& value : read_values(options.output)) {
        written += value.value;
    }
    REQUIRE(-written == Approx(all.nats).epsilon(1e-7));
}

TEST_CASE("score: the mirrored record has the same values from the other end", "[score]") {
    test::PipelineLab lab;
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{1}, std::int64_t{64});
    const ScoreWhat what = GENERATE(ScoreWhat::logp, ScoreWhat::entropy);
    const std::string bases = test::gapped_bases(1203, 21, 4, 45);
    const auto values_of = [&](const std::string& of, ScoreStrand strand) {
        ScoreOptions options = options_for(lab, {lab.fasta("in.fa", {"x", of})});
        options.reading.gap = 30;
        options.reading.context = context;
        options.strand = strand;
        options.what = what;
        std::map<std::int64_t, double> values;
        score(options, lab.runtime());
        for (const Value& value : read_values(options.output)) {
            values[value.begin] = value.value;
        }
        return values;
    };
    for (const auto& [strand, other] : {std::pair{ScoreStrand::both, ScoreStrand::both},
                                        std::pair{ScoreStrand::forward, ScoreStrand::reverse}}) {
        const auto forward = values_of(bases, strand);
        std::map<std::int64_t, double> turned;
        for (const auto& [begin, value] : values_of(test::mirrored_bases(bases), other)) {
            turned[static_cast<std::int64_t>(bases.size()) - 1 - begin] = value;
        }
        REQUIRE(forward.size() > 900);
        REQUIRE(turned == forward);
    }
}

TEST_CASE("score: a bin is the mean of its scored bases", "[score]") {
    test::PipelineLab lab;
    const std::string bases = test::gapped_bases(1000, 7, 3, 60);
    ScoreOptions options = options_for(lab, {lab.fasta("in.fa", {"x", bases, "y", bases})});
    options.reading.gap = 30;
    score(options, lab.runtime());
    std::map<std::pair<std::string, std::int64_t>, std::vector<double>> bins;
    for (const Value& value : read_values(options.output)) {
        bins[{value.contig, value.begin / 7}].push_back(value.value);
    }
    options.bin = 7;
    score(options, lab.runtime());
    const std::vector<Value> values = read_values(options.output);
    REQUIRE(values.size() == bins.size());
    for (const Value& value : values) {
        REQUIRE(value.begin % 7 == 0);
        REQUIRE(value.end == std::min<std::int64_t>(value.begin + 7, 1000));
        const std::vector<double>& of = bins.at({value.contig, value.begin / 7});
        double sum = 0.0;
        for (const double one : of) {
            sum += one;
        }
        REQUIRE(value.value == Approx(sum / static_cast<double>(of.size())).epsilon(1e-6));
    }
}

TEST_CASE("score: regions give the lines of the whole, sorted and each once", "[score]") {
    test::PipelineLab lab;
    const std::string bases = test::gapped_bases(1500, 8, 4, 60);
    const std::string input = lab.fasta("in.fa", {"x", bases, "y", bases + "ACCA"});
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{64});
    const std::int64_t bin = GENERATE(std::int64_t{1}, std::int64_t{10});
    const ScoreStrand strand =
        GENERATE(ScoreStrand::both, ScoreStrand::forward, ScoreStrand::reverse);
    ScoreOptions options = options_for(lab, {input});
    options.reading.gap = 30;
    options.reading.context = context;
    options.bin = bin;
    options.strand = strand;
    const std::vector<std::string> whole = lines_of(options, lab);
    const auto select = [&](std::string_view contig, std::int64_t begin, std::int64_t end) {
        std::vector<std::string> out;
        for (const std::string& line : whole) {
            const auto fields = split(line, '\t');
            const std::int64_t at = std::stoll(std::string(fields[1]));
            if (fields[0] == contig && at >= begin && at < end) {
                out.push_back(line);
            }
        }
        return out;
    };
    std::vector<std::string> regions = select("x", 0, 40);
    for (const auto& more : {select("x", 300, 900), select("y", 1400, 1504)}) {
        regions.insert(regions.end(), more.begin(), more.end());
    }
    options.reading.regions = {"y:1401-1504", "x:301-650", "x:1-40", "x:501-900"};
    REQUIRE(lines_of(options, lab) == regions);
    if (bin > 1) {
        options.reading.regions = {"x:305-306"};
        REQUIRE(lines_of(options, lab) == select("x", 300, 310));
    }
    // One base at a time, at the ends of runs too.
    if (bin == 1) {
        for (std::int64_t at = 0; at < 1500; at += at < 20 ? 1 : 97) {
            options.reading.regions = {concat("x:", at + 1, "-", at + 1)};
            REQUIRE(lines_of(options, lab) == select("x", at, at + 1));
        }
    }
}

TEST_CASE("score: records without anything to score", "[score]") {
    test::PipelineLab lab;
    ScoreOptions options = options_for(
        lab, {lab.fasta("in.fa", {"none", "", "n", "NNNNN", "one", "A", "two", "AC", "z", "NAN"})});
    const ScoreStrand strand =
        GENERATE(ScoreStrand::both, ScoreStrand::forward, ScoreStrand::reverse);
    options.strand = strand;
    const ScoreReport report = score(options, lab.runtime());
    std::string seen;
    for (const Value& value : read_values(options.output)) {
        seen += concat(value.contig, value.begin, ' ');
    }
    // Of "two" one base is left of the other; N says something to "z".
    REQUIRE(seen == (strand == ScoreStrand::both      ? "two0 two1 z1 "
                     : strand == ScoreStrand::forward ? "two1 z1 "
                                                      : "two0 z1 "));
    REQUIRE(report.records == 5);
    REQUIRE(lab.warned_of("none: no bases"));
}

TEST_CASE("score: what it refuses", "[score]") {
    test::PipelineLab lab;
    const std::string input = lab.fasta("in.fa", {"x", "ACGT"});
    const auto failure = [&](auto change) {
        ScoreOptions options = options_for(lab, {input});
        change(options);
        return failure_of([&] { score(options, lab.runtime()); });
    };
    REQUIRE(failure([](ScoreOptions& o) { o.output = "x.wig"; }).find("ends in .bw, .bigwig") !=
            std::string::npos);
    REQUIRE(failure([](ScoreOptions& o) { o.bin = 0; }).find("a bin has 1 to 100,000,000 bases") !=
            std::string::npos);
    REQUIRE(failure([](ScoreOptions& o) {
                o.model.clear();
                o.output.clear();
            }).find("no model directory; no output file") != std::string::npos);
    REQUIRE(failure([](ScoreOptions& o) { o.reading.regions = {"nope"}; }).find("nope") !=
            std::string::npos);
    const std::string twice = lab.fasta("twice.fa", {"x", "ACGT"});
    const auto both = [&](ScoreOptions& o) {
        o.reading.inputs.push_back(twice);
        o.output = lab.file("out.bedgraph");
    };
    REQUIRE(failure(both).find("two sequences are named x") != std::string::npos);
    REQUIRE_FALSE(exists(lab.file("out.bedgraph")));
    REQUIRE_FALSE(exists(lab.file("out.json")));
}
