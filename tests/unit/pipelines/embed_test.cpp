#include "pipelines/embed.hpp"

#include "base/file.hpp"
#include "genomics_io/half.hpp"
#include "model/forward.hpp"
#include "pipelines/engine.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::Array2;
using mambase::test::failure_of;
using mambase::test::read_array;

namespace {

constexpr std::int64_t kWidth = 12;  // of the lab's model

EmbedOptions options_for(const test::PipelineLab& lab, const std::string& input) {
    EmbedOptions options;
    options.model = lab.model_dir();
    options.reading.inputs = {input};
    options.reading.context = kWholeContext;
    options.reading.gap = 30;
    options.output = lab.file("out.npy");
    options.dtype = io::RowType::f32;
    return options;
}

Array2 embedded(const test::PipelineLab& lab, const EmbedOptions& options, int threads = 1) {
    const EmbedReport report = embed(options, lab.runtime(threads));
    Array2 array = read_array(options.output);
    REQUIRE(array.rows == report.rows);
    REQUIRE(array.dim == report.dim);
    REQUIRE(static_cast<std::int64_t>(std::filesystem::file_size(options.output)) == report.bytes);
    return array;
}

/// Hidden states of a stretch read in one call, [length, D].
std::vector<float> expected_rows(const test::PipelineLab& lab,
                                 const std::string& stretch,
                                 std::int64_t layer) {
    const Runtime runtime = lab.runtime();
    Engine engine(runtime);
    const model::Model model = model::Model::load(lab.model_dir(), host_allocator());
    std::vector<std::uint8_t> ids(stretch.size());
    io::Tokenizer::named("dna").encode(stretch, ids.data());
    for (std::uint8_t& id : ids) {
        id &= 0x7F;
    }
    const auto length = static_cast<std::int64_t>(ids.size());
    std::vector<float> rows(static_cast<std::size_t>(length * kWidth));
    model::StateBank bank(model.config(), 1, engine.queue());
    model::forward_hidden(
        engine.context(), model,
        {.ids = TensorView(ids.data(), DType::u8, {1, length}), .valid = {}, .segment = {}}, bank,
        layer, TensorView(rows.data(), DType::f32, {1, length, kWidth}));
    return rows;
}

std::string bytes_of(const std::vector<float>& values) {
    std::string out(values.size() * sizeof(float), '\0');
    std::memcpy(out.data(), values.data(), out.size());
    return out;
}

/// Rows in the opposite order.
std::vector<float> upside_down(const std::vector<float>& rows) {
    std::vector<float> out;
    for (std::size_t end = rows.size(); end > 0; end -= kWidth) {
        out.insert(out.end(), rows.begin() + static_cast<std::ptrdiff_t>(end - kWidth),
                   rows.begin() + static_cast<std::ptrdiff_t>(end));
    }
    return out;
}

}  // namespace

TEST_CASE("rows are the hidden states at their bases, zero in gaps", "[embed]") {
    const test::PipelineLab lab(0);
    const std::string a = test::gapped_bases(300, 1, 0, 1);
    const std::string b = test::gapped_bases(200, 2, 0, 1);
    EmbedOptions options =
        options_for(lab, lab.fasta("in.fa", {"x", a + std::string(40, 'N') + b, "y", b}));
    options.layer = GENERATE(std::int64_t{model::kLastLayer}, std::int64_t{0}, std::int64_t{2});
    const std::string rows_a = bytes_of(expected_rows(lab, a, options.layer));
    const std::string rows_b = bytes_of(expected_rows(lab, b, options.layer));
    const std::string gap(40 * kWidth * sizeof(float), '\0');

    options.strand = StrandChoice::forward;
    REQUIRE(embedded(lab, options).bytes == rows_a + gap + rows_b + rows_b);

    const auto reverse_rows = [&](const std::string& stretch) {
        return bytes_of(
            upside_down(expected_rows(lab, test::mirrored_bases(stretch), options.layer)));
    };
    options.strand = StrandChoice::reverse;
    const std::string reversed = reverse_rows(a) + gap + reverse_rows(b) + reverse_rows(b);
    REQUIRE(embedded(lab, options).bytes == reversed);

    options.strand = StrandChoice::concat;
    const Array2 both = embedded(lab, options);
    REQUIRE(both.dim == 2 * kWidth);
    const std::string forward = rows_a + gap + rows_b + rows_b;
    const std::size_t size = kWidth * sizeof(float);
    for (std::int64_t row = 0; row < both.rows; ++row) {
        const std::size_t at = static_cast<std::size_t>(row) * size;
        REQUIRE(both.row(row) == forward.substr(at, size) + reversed.substr(at, size));
    }

    options.strand = StrandChoice::mean;
    const Array2 mean = embedded(lab, options);
    for (std::int64_t row = 0; row < mean.rows; ++row) {
        for (std::int64_t i = 0; i < kWidth; ++i) {
            REQUIRE(mean.value(row, i) ==
                    0.5F * (both.value(row, i) + both.value(row, kWidth + i)));
        }
    }
}

TEST_CASE("beside the array lie its rows and what they are", "[embed]") {
    test::PipelineLab lab;
    EmbedOptions options = options_for(
        lab, lab.fasta("in.fa", {"x", test::markov_bases(70, 1), "none", "", "y", "ACGTN"}));
    options.reading.context = 64;
    const EmbedReport report = embed(options, lab.runtime());
    REQUIRE(report.records == 3);
    REQUIRE(report.rows == 75);
    REQUIRE(report.bases_read == 150);
    REQUIRE(read_text(report.rows_table) ==
            "contig\tstart\tend\tstrand\tfirst_row\trows\nx\t0\t70\t.\t0\t70\n"
            "none\t0\t0\t.\t70\t0\ny\t0\t5\t.\t70\t5\n");
    REQUIRE(lab.warned_of("none: no bases"));

    const auto json = nlohmann::json::parse(read_text(report.description));
    REQUIRE(json.at("shape") == nlohmann::json({75, 24}));
    REQUIRE(json.at("dtype") == "f32");
    REQUIRE(json.at("layer") == "last");
    REQUIRE(json.at("strand") == "concat");
    REQUIRE(json.at("pool") == "none");
    REQUIRE(json.at("context") == 64);
    REQUIRE(json.at("tokenizer").at("name") == "dna");
    REQUIRE(json.at("model").get<std::string>().size() == 64);
    REQUIRE(json.at("rows") == "out.rows.tsv");
    REQUIRE(!json.contains("command"));

    Runtime runtime = lab.runtime();
    runtime.no_pg = false;
    embed(options, runtime);
    REQUIRE(nlohmann::json::parse(read_text(report.description)).at("command") == "mambase test");
}

TEST_CASE("bins are means over their bases, anchored at the record's start", "[embed]") {
    const test::PipelineLab lab;
    const std::string bases = test::gapped_bases(1003, 4, 3, 60);
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", {"w", "ACGTACG", "x", bases}));
    options.reading.context = 64;
    options.strand = GENERATE(StrandChoice::concat, StrandChoice::reverse, StrandChoice::mean);
    const Array2 single = embedded(lab, options);
    const std::string text = "ACGTACG" + bases;
    options.pool = Pooling::bins(GENERATE(std::int64_t{1}, std::int64_t{10}, std::int64_t{1000}));
    const Array2 bins = embedded(lab, options);
    const std::int64_t first_bins = (7 + options.pool.bin - 1) / options.pool.bin;
    REQUIRE(bins.rows == first_bins + (1003 + options.pool.bin - 1) / options.pool.bin);
    for (std::int64_t row = 0; row < bins.rows; ++row) {
        const bool in_first = row < first_bins;
        const std::int64_t begin =
            in_first ? row * options.pool.bin : 7 + (row - first_bins) * options.pool.bin;
        const std::int64_t end =
            std::min<std::int64_t>(begin + options.pool.bin, in_first ? 7 : 1010);
        for (std::int64_t i = 0; i < bins.dim; ++i) {
            double sum = 0.0;
            int count = 0;
            for (std::int64_t p = begin; p < end; ++p) {
                if (io::is_base(text[static_cast<std::size_t>(p)])) {
                    sum += static_cast<double>(single.value(p, i));
                    ++count;
                }
            }
            const double expected = count > 0 ? sum / count : 0.0;
            REQUIRE(static_cast<double>(bins.value(row, i)) ==
                    Approx(expected).epsilon(1e-5).margin(1e-6));
        }
    }
}

TEST_CASE("regions give the rows of the whole record, in the order asked for", "[embed]") {
    const test::PipelineLab lab;
    const std::string bases = test::gapped_bases(1500, 5, 4, 50);
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", {"w", "ACGTACG", "x", bases}));
    options.reading.context = GENERATE(std::int64_t{0}, std::int64_t{50}, std::int64_t{64});
    options.pool = Pooling::bins(GENERATE(std::int64_t{0}, std::int64_t{20}));
    const Array2 whole = embedded(lab, options);
    const std::int64_t base = options.pool.bin == 0 ? 7 : 1;  // first row of x
    options.reading.regions = {"x:801-1100", "w", "x:1-20", "x:813", "x:601-860"};
    const Array2 regions = embedded(lab, options);
    const std::string table = read_text(lab.file("out.rows.tsv"));
    std::string expected;
    if (options.pool.bin == 0) {
        expected = whole.rows_of(base + 800, 300) + whole.rows_of(0, 7) + whole.rows_of(base, 20) +
                   whole.rows_of(base + 812, 688) + whole.rows_of(base + 600, 260);
        REQUIRE(table.find("x\t812\t1500\t.\t327\t688\n") != std::string::npos);
    } else {
        expected = whole.rows_of(base + 40, 15) + whole.rows_of(0, 1) + whole.rows_of(base, 1) +
                   whole.rows_of(base + 40, 35) + whole.rows_of(base + 30, 13);
        REQUIRE(table.find("x\t800\t1500\t.\t17\t35\n") != std::string::npos);
    }
    REQUIRE(regions.bytes == expected);
}

TEST_CASE("f16 rows are the f32 rows rounded", "[embed]") {
    const test::PipelineLab lab;
    EmbedOptions options =
        options_for(lab, lab.fasta("in.fa", {"x", test::gapped_bases(100, 6, 0, 1)}));
    const Array2 full = embedded(lab, options);
    options.dtype = io::RowType::f16;
    const Array2 half = embedded(lab, options);
    REQUIRE(half.item == 2);
    for (std::int64_t row = 0; row < full.rows; ++row) {
        for (std::int64_t i = 0; i < full.dim; ++i) {
            std::uint16_t bits = 0;
            std::memcpy(&bits, half.bytes.data() + (row * full.dim + i) * 2, 2);
            REQUIRE(bits == io::to_half(full.value(row, i)));
        }
    }
}

TEST_CASE("a forward stream needs no index", "[embed]") {
    const test::PipelineLab lab;
    const std::string uneven = ">x\nACGT\nACGTACGTACGT\nAC\n>y\nACG\n";
    write_text(lab.file("uneven.fa"), uneven);
    EmbedOptions options = options_for(lab, lab.file("uneven.fa"));
    options.strand = StrandChoice::forward;
    const std::string rows = embedded(lab, options).bytes;
    REQUIRE(!exists(lab.file("uneven.fa.fai")));
    options.reading.inputs = {lab.fasta("even.fa", {"x", "ACGTACGTACGTACGTAC", "y", "ACG"})};
    REQUIRE(embedded(lab, options).bytes == rows);
    options.strand = StrandChoice::concat;  // of lines that differ in length, out of a spool
    const std::string both = embedded(lab, options).bytes;
    options.reading.inputs = {lab.file("uneven.fa")};
    REQUIRE(embedded(lab, options).bytes == both);
    options.reading.inputs = {lab.file("even.fa")};
    options.strand = StrandChoice::forward;
    options.pool = Pooling::bins(5);
    REQUIRE(embedded(lab, options).rows == 5);
    options.reading.regions = {"x:1-18", "y"};
    const std::string by_index = embedded(lab, options).bytes;
    options.reading.regions.clear();
    REQUIRE(embedded(lab, options).bytes == by_index);
}

TEST_CASE("what embed cannot do is said before it starts", "[embed]") {
    const test::PipelineLab lab;
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", {"x", test::markov_bases(300, 1)}));
    const auto fails_with = [&](const std::string& text) {
        const std::string failure = failure_of([&] { embed(options, lab.runtime()); });
        INFO(failure);
        REQUIRE(failure.find(text) != std::string::npos);
        for (const auto& entry : std::filesystem::directory_iterator(lab.directory())) {
            REQUIRE(entry.path().filename().string().find("out") == std::string::npos);
        }
    };
    options.max_output = 300 * 24 * 4;
    fails_with("usage: the output would take");
    options.strand = StrandChoice::forward;
    options.max_output = 300 * 12 * 4;
    fails_with("more than the limit of 14.1 KB; name regions, pool into bins");
    options.max_output = std::numeric_limits<std::int64_t>::max();
    options.layer = 4;
    fails_with("usage: there is no layer 4; the model has 3 blocks");
    options.layer = model::kLastLayer;
    options.reading.inputs = {lab.file("absent.fa")};
    fails_with("not_found: ");
    options.strand = StrandChoice::concat;
    fails_with("not_found: ");
    // An empty gzip stream, as gzip(1) writes it.
    write_text(lab.file("plain.fa.gz"),
               std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", 20));
    options.reading.inputs = {lab.file("plain.fa.gz")};
    fails_with("plain.fa.gz: the file is empty");
    options.strand = StrandChoice::forward;
    options.reading.regions = {"x"};
    fails_with("regions need random access");
}

TEST_CASE("embed refuses what has no meaning, all at once", "[embed]") {
    EmbedOptions options;
    options.reading.inputs = {"a"};
    options.output = "out.txt";
    options.pool = Pooling::bins(-1);
    options.reading.gap = 0;
    const std::string failure = failure_of([&] { options.validate(); });
    for (const std::string part : {"no model directory", "ends in .npy or .h5, or a track",
                                   "a bin has at least 1 base", "the gap is at least 1 base"}) {
        INFO(part << " in " << failure);
        REQUIRE(failure.find(part) != std::string::npos);
    }
}

TEST_CASE("embed leaves nothing behind where it fails, is stopped or only plans", "[embed]") {
    const test::PipelineLab lab;
    EmbedOptions options =
        options_for(lab, lab.fasta("in.fa", {"x", test::markov_bases(300, 8) + "*ACGT"}));
    options.strand = GENERATE(StrandChoice::concat, StrandChoice::forward);
    const auto outputs = [&] {
        std::int64_t count = 0;
        for (const auto& entry : std::filesystem::directory_iterator(lab.directory())) {
            count += entry.path().filename().string().find("out") != std::string::npos ? 1 : 0;
        }
        return count;
    };
    REQUIRE(failure_of([&] { embed(options, lab.runtime()); }).find("format: ") == 0);
    REQUIRE(outputs() == 0);

    const std::atomic<int> stop{2};
    Runtime runtime = lab.runtime();
    runtime.stop = &stop;
    options.reading.inputs = {lab.fasta("good.fa", {"x", test::markov_bases(305, 8)})};
    REQUIRE(failure_of([&] { embed(options, runtime); }).find("cancelled") == 0);
    REQUIRE(outputs() == 0);

    options.dry_run = true;
    const EmbedReport report = embed(options, lab.runtime());
    INFO(report.plan);
    REQUIRE(report.plan.find("305 bases") != std::string::npos);
    REQUIRE(report.plan.find("305 rows of ") != std::string::npos);
    REQUIRE(outputs() == 0);
}

namespace {

/// The records of a FASTA text as FASTQ.
std::string as_fastq(const std::vector<std::string>& names_and_bases) {
    std::string text;
    for (std::size_t i = 0; i + 1 < names_and_bases.size(); i += 2) {
        const std::string& bases = names_and_bases[i + 1];
        text += "@" + names_and_bases[i] + "\n" + bases + "\n+\n" + std::string(bases.size(), 'I') +
                "\n";
    }
    return text;
}

}  // namespace

TEST_CASE("a pool over a record is what its bases' rows say", "[embed]") {
    const test::PipelineLab lab;
    const std::vector<std::string> records{"a",     test::gapped_bases(130, 4, 3, 20),
                                           "none",  "",
                                           "b",     "ACGTRNNACG",
                                           "gap",   std::string(40, 'N'),
                                           "again", "T"};
    EmbedOptions options = options_for(lab, lab.file("in.fq"));
    write_text(lab.file("in.fq"), as_fastq(records));
    options.reading.context = 64;
    options.strand = GENERATE(StrandChoice::forward, StrandChoice::reverse, StrandChoice::concat,
                              StrandChoice::mean);
    const Array2 single = embedded(lab, options);
    options.pool.how = GENERATE(Pool::mean, Pool::max, Pool::last);
    const Array2 pooled = embedded(lab, options);
    CAPTURE(name(options.strand), name(options.pool));
    REQUIRE(pooled.rows == 4);  // "none" has no row
    std::int64_t row = 0;
    std::int64_t first = 0;
    for (std::size_t r = 0; r < records.size(); r += 2) {
        const std::string& bases = records[r + 1];
        for (std::int64_t i = 0; i < pooled.dim && !bases.empty(); ++i) {
            const bool reverse = options.strand == StrandChoice::reverse ||
                                 (options.strand == StrandChoice::concat && i >= kWidth);
            std::vector<double> values;
            for (std::size_t p = 0; p < bases.size(); ++p) {
                if (io::is_base(bases[p])) {
                    values.push_back(
                        static_cast<double>(single.value(first + static_cast<std::int64_t>(p), i)));
                }
            }
            if (options.strand == StrandChoice::mean && options.pool.how != Pool::mean) {
                continue;  // of either strand first, then of both
            }
            double expected = 0.0;
            if (!values.empty() && options.pool.how == Pool::mean) {
                expected = std::accumulate(values.begin(), values.end(), 0.0) /
                           static_cast<double>(values.size());
            } else if (!values.empty() && options.pool.how == Pool::max) {
                expected = *std::max_element(values.begin(), values.end());
            } else if (!values.empty()) {
                expected = reverse ? values.front() : values.back();
            }
            REQUIRE(static_cast<double>(pooled.value(row, i)) ==
                    Approx(expected).epsilon(1e-5).margin(1e-6));
        }
        row += bases.empty() ? 0 : 1;
        first += static_cast<std::int64_t>(bases.size());
    }
}

TEST_CASE("the rows of reads are those of the same sequence in an indexed file", "[embed]") {
    const test::PipelineLab lab;
    std::vector<std::string> records;
    for (std::uint32_t i = 0; i < 9; ++i) {
        records.push_back("read" + std::to_string(i));
        records.push_back(test::gapped_bases(i == 4 ? 3000 : 20 + 7 * i, i, 2, 40));
    }
    write_text(lab.file("in.fq"), as_fastq(records));
    EmbedOptions options = options_for(lab, lab.fasta("in.fa", records));
    options.reading.context = GENERATE(std::int64_t{0}, std::int64_t{32});
    options.strand = GENERATE(StrandChoice::concat, StrandChoice::forward, StrandChoice::reverse);
    options.pool.how = GENERATE(Pool::none, Pool::mean, Pool::last);
    const std::string by_index = embedded(lab, options).bytes;
    const std::string table = read_text(lab.file("out.rows.tsv"));
    options.reading.inputs = {lab.file("in.fq")};
    REQUIRE(embedded(lab, options).bytes == by_index);
    REQUIRE(read_text(lab.file("out.rows.tsv")) == table);
}

TEST_CASE("several inputs follow one another, whatever their formats", "[embed]") {
    const test::PipelineLab lab;
    const std::vector<std::string> first{"x", test::markov_bases(70, 1), "y", "ACGTN"};
    const std::vector<std::string> second{"x", test::markov_bases(33, 2)};
    EmbedOptions options = options_for(lab, lab.fasta("a.fa", first));
    options.strand = GENERATE(StrandChoice::concat, StrandChoice::forward);
    const Array2 a = embedded(lab, options);
    write_text(lab.file("b.fq"), as_fastq(second));
    options.reading.inputs = {lab.file("b.fq")};
    const Array2 b = embedded(lab, options);
    options.reading.inputs = {lab.file("a.fa"), lab.file("b.fq")};
    const Array2 both = embedded(lab, options);
    REQUIRE(both.rows == 108);
    REQUIRE(both.bytes == a.bytes + b.bytes);
    REQUIRE(read_text(lab.file("out.rows.tsv")).find("x\t0\t33\t") != std::string::npos);
}
