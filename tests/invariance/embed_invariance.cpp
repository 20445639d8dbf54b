// A row depends on its position, the context and the weights alone.
#include "pipelines/embed.hpp"
#include "pipelines/evaluate.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::Array2;

namespace {

struct Case {
    std::int64_t context;
    std::int64_t bin;
    StrandChoice strand;
};

Array2 rows_of(const test::PipelineLab& lab,
               const std::string& input,
               const Case& what,
               std::int64_t chunk = 8192,
               int threads = 1) {
    EmbedOptions options;
    options.model = lab.model_dir();
    options.reading.inputs = {input};
    options.reading.context = what.context;
    options.reading.gap = 30;
    options.reading.chunk = chunk;
    options.output = lab.file("rows.npy");
    options.pool = Pooling::bins(what.bin);
    options.strand = what.strand;
    options.dtype = io::RowType::f32;
    embed(options, lab.runtime(threads));
    return test::read_array(options.output);
}

/// Rows of the mirrored record, turned round, its halves swapped.
std::string unmirrored(const Array2& array) {
    const auto half = static_cast<std::size_t>(array.dim * array.item / 2);
    std::string out;
    for (std::int64_t row = array.rows - 1; row >= 0; --row) {
        const std::string values = array.row(row);
        out += values.substr(half) + values.substr(0, half);
    }
    return out;
}

void check_mirror(const std::string& bases, std::int64_t context) {
    const test::PipelineLab lab;
    const Case what{context, 0, StrandChoice::concat};
    const Array2 rows = rows_of(lab, lab.fasta("in.fa", {"x", bases}), what);
    const Array2 mirrored =
        rows_of(lab, lab.fasta("rc.fa", {"x", test::mirrored_bases(bases)}), what);
    REQUIRE(unmirrored(mirrored) == rows.bytes);
}

void check_chunks(const std::string& bases,
                  const Case& what,
                  const std::vector<std::int64_t>& chunks) {
    const test::PipelineLab lab;
    const std::string input = lab.fasta("in.fa", {"x", bases});
    const Array2 rows = rows_of(lab, input, what);
    for (const std::int64_t chunk : chunks) {
        for (const int threads : {1, 2, 4}) {
            INFO("chunk " << chunk << ", " << threads << " threads");
            REQUIRE(rows_of(lab, input, what, chunk, threads).bytes == rows.bytes);
        }
    }
}

/// Every record alone, and all in either order.
void check_company(const std::vector<std::string>& records, const Case& what) {
    const test::PipelineLab lab;
    std::vector<std::string> forward;
    std::vector<std::string> backward;
    std::string alone_forward;
    std::string alone_backward;
    for (std::size_t i = 0; i < records.size(); ++i) {
        const std::string name = concat("r", i);
        const std::string alone =
            rows_of(lab, lab.fasta(name + ".fa", {name, records[i]}), what).bytes;
        forward.insert(forward.end(), {name, records[i]});
        backward.insert(backward.begin(), {name, records[i]});
        alone_forward += alone;
        alone_backward.insert(0, alone);
    }
    REQUIRE(rows_of(lab, lab.fasta("f.fa", forward), what).bytes == alone_forward);
    REQUIRE(rows_of(lab, lab.fasta("b.fa", backward), what, 50).bytes == alone_backward);
}

}  // namespace

TEST_CASE("embed: the mirrored record gives the rows turned round, halves swapped", "[embed]") {
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{1}, std::int64_t{50},
                                          std::int64_t{64}, std::int64_t{5000});
    check_mirror(test::gapped_bases(1203, 21, 4, 45), context);
}

TEST_CASE("embed: chunks and threads do not change a bit", "[embed]") {
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{64}, std::int64_t{300});
    const std::int64_t bin = GENERATE(std::int64_t{0}, std::int64_t{7});
    check_chunks(test::gapped_bases(1100, 22, 3, 45), {context, bin, StrandChoice::concat},
                 {1, 3, 64, 1000, 4096});
}

TEST_CASE("embed: company and order do not change a bit", "[embed]") {
    std::vector<std::string> records;
    for (std::uint64_t i = 0; i < 14; ++i) {
        records.push_back(test::gapped_bases(1 + (i * i * 37) % 700, 30 + i, i % 3, 45));
    }
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{64});
    const std::int64_t bin = GENERATE(std::int64_t{0}, std::int64_t{7});
    const StrandChoice strand = GENERATE(StrandChoice::concat, StrandChoice::forward);
    check_company(records, {context, bin, strand});
}

TEST_CASE("embed: a hundred thousand bases in chunks, threads and mirrored", "[.slow][embed]") {
    const std::string bases = test::gapped_bases(100'003, 23, 6, 500);
    check_mirror(bases, 0);
    check_mirror(bases, 8192);
    check_chunks(bases, {0, 0, StrandChoice::concat}, {3, 64, 1000, 4096, 100'003});
    check_chunks(bases, {8192, 0, StrandChoice::concat}, {64, 4096});
    check_company({test::gapped_bases(5000, 24, 1, 100), bases, "ACGT"},
                  {kWholeContext, 0, StrandChoice::concat});
}
