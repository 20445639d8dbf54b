// What embed writes beside arrays, and what it does not write.
#include "base/file.hpp"
#include "model/model.hpp"
#include "pipelines/embed.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::Array2;
using mambase::test::failure_of;

namespace {

constexpr std::int64_t kWidth = 12;  // of the lab's model

EmbedOptions options_for(const test::PipelineLab& lab, const std::string& input) {
    EmbedOptions options;
    options.model = lab.model_dir();
    options.reading.inputs = {input};
    options.output = lab.file("out.npy");
    options.dtype = io::RowType::f32;
    return options;
}

Array2 embedded(const test::PipelineLab& lab, const EmbedOptions& options) {
    embed(options, lab.runtime());
    return test::read_array(options.output);
}

}  // namespace

TEST_CASE("a channel as a track is that number of the rows, gaps left out", "[embed]") {
    const test::PipelineLab lab;
    const std::string bases = test::gapped_bases(700, 6, 2, 90);
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", {"x", bases, "y", bases}));
    options.dtype = io::RowType::f32;
    options.reading.context = 64;
    options.reading.gap = 30;
    options.strand = GENERATE(StrandChoice::forward, StrandChoice::reverse, StrandChoice::concat);
    const bool binned = GENERATE(false, true);
    options.pool = Pooling::bins(binned ? 10 : 0);
    const bool regions = GENERATE(false, true);
    if (regions) {
        options.reading.regions = {"y:201-210", "x:1-300", "x:251-400"};
    }
    EmbedOptions whole = options;
    whole.reading.regions.clear();
    const Array2 rows = embedded(lab, whole);
    options.channel = 5;
    options.output = lab.file("out.tsv");
    const EmbedReport report = embed(options, lab.runtime());
    CHECK(report.rows_table.empty());
    CHECK(report.description == lab.file("out.json"));

    const std::int64_t width = binned ? 10 : 1;
    std::string expected = "contig\tstart\tend\tembedding\n";
    for (const std::int64_t contig : {0, 1}) {
        for (std::int64_t row = 0; row < 700 / width; ++row) {
            const std::int64_t at = row * width;
            const bool asked = !regions || (contig == 0 ? at < 400 : at >= 200 && at < 210);
            const float value = rows.value(contig * (700 / width) + row, 5);
            if (asked && value != 0.0F) {  // no number of this model is 0 but in gaps
                char digits[32];
                const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
                expected += concat(contig == 0 ? "x\t" : "y\t", at, "\t", at + width, "\t",
                                   std::string_view(digits, end), "\n");
            }
        }
    }
    REQUIRE(read_text(options.output) == expected);
}

TEST_CASE("what a track of a channel cannot be", "[embed]") {
    const test::PipelineLab lab;
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", {"x", "ACGT"}));
    const auto failure = [&] { return failure_of([&] { embed(options, lab.runtime()); }); };
    options.channel = 0;
    CHECK(failure().find("a channel is of a track") != std::string::npos);
    options.output = lab.file("out.bw");
    options.pool.how = Pool::mean;
    CHECK(failure().find("a track has a value for each base or bin") != std::string::npos);
    options.pool.how = Pool::none;
    options.channel = 2 * kWidth;
    CHECK(failure().find(concat("there is no channel ", 2 * kWidth)) != std::string::npos);
    options.channel.reset();
    CHECK(failure().find("a track has one number of each row: say which") != std::string::npos);
}

TEST_CASE("a number too large for f16 is an error, and nothing is left", "[embed]") {
    const test::PipelineLab lab;
    model::Model model = model::Model::load(lab.model_dir(), host_allocator());
    for (model::Param& param : model.params()) {
        if (param.init == model::Init::embedding) {
            auto* const values = static_cast<float*>(param.value.view().data());
            values[io::Tokenizer::named("dna").acgt()[2] * kWidth + 4] = 70000.0F;  // of G
        }
    }
    const std::string large = lab.file("large");
    model::save_model(large, model);
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", {"x", "AACCTTGAC"}));
    options.model = large;
    options.layer = 0;
    options.strand = StrandChoice::forward;
    options.dtype = io::RowType::f16;
    CHECK(failure_of([&] { embed(options, lab.runtime()); }) ==
          concat("format: ", options.output,
                 ": the value 70000 of row 6, channel 4 overflows f16 (use f32)"));
    for (const std::string name : {"out.npy", "out.rows.tsv", "out.json"}) {
        CHECK_FALSE(exists(lab.file(name)));
    }
    options.dtype = io::RowType::f32;
    CHECK(embedded(lab, options).value(6, 4) == 70000.0F);
}
