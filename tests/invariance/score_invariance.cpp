// A score depends on its position, the context, the bin and its contig alone.
#include "pipelines/score.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;

namespace {

struct Case {
    std::int64_t context;
    std::int64_t bin;
    ScoreStrand strand;
    ScoreWhat what = ScoreWhat::logp;
};

/// The lines of the table under its header.
std::string lines_of(const test::PipelineLab& lab,
                     const std::string& input,
                     const Case& what,
                     std::int64_t chunk = 8192,
                     int threads = 1) {
    ScoreOptions options;
    options.model = lab.model_dir();
    options.reading.inputs = {input};
    options.reading.context = what.context;
    options.reading.gap = 30;
    options.reading.chunk = chunk;
    options.output = lab.file("scores.tsv");
    options.bin = what.bin;
    options.strand = what.strand;
    options.what = what.what;
    score(options, lab.runtime(threads));
    const std::string text = read_text(options.output);
    return text.substr(text.find('\n') + 1);
}

void check_chunks(const std::string& bases,
                  const Case& what,
                  const std::vector<std::int64_t>& chunks) {
    const test::PipelineLab lab;
    const std::string input = lab.fasta("in.fa", {"x", bases});
    const std::string lines = lines_of(lab, input, what);
    REQUIRE(lines.size() > 1000);
    for (const std::int64_t chunk : chunks) {
        for (const int threads : {1, 3}) {
            INFO("chunk " << chunk << ", " << threads << " threads");
            REQUIRE(lines_of(lab, input, what, chunk, threads) == lines);
        }
    }
}

}  // namespace

TEST_CASE("score: chunks and threads do not change a byte", "[score]") {
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{64});
    const auto [bin, strand] = GENERATE(std::pair{std::int64_t{1}, ScoreStrand::both},
                                        std::pair{std::int64_t{7}, ScoreStrand::forward},
                                        std::pair{std::int64_t{7}, ScoreStrand::reverse});
    check_chunks(test::gapped_bases(1100, 22, 3, 45), {context, bin, strand}, {1, 64, 1000});
}

TEST_CASE("score: company, order and the way of reading do not change a byte", "[score]") {
    const test::PipelineLab lab;
    const std::int64_t context = GENERATE(std::int64_t{0}, std::int64_t{64});
    const std::int64_t bin = GENERATE(std::int64_t{1}, std::int64_t{7});
    const Case asked{context, bin, bin == 1 ? ScoreStrand::both : ScoreStrand::forward,
                     context == 0 ? ScoreWhat::logp : ScoreWhat::entropy};
    std::vector<std::string> forward;
    std::vector<std::string> backward;
    std::string uneven;  // lines, which no index can tell the places of
    std::string alone_forward;
    std::string alone_backward;
    for (std::uint64_t i = 0; i < 12; ++i) {
        const std::string bases = test::gapped_bases(1 + (i * i * 37) % 700, 30 + i, i % 3, 45);
        const std::string name = concat("r", i);
        const std::string alone = lines_of(lab, lab.fasta(name + ".fa", {name, bases}), asked);
        forward.insert(forward.end(), {name, bases});
        backward.insert(backward.begin(), {name, bases});
        alone_forward += alone;
        alone_backward.insert(0, alone);
        uneven += concat(">", name, "\n", bases.substr(0, 3), "\n",
                         bases.size() > 3 ? bases.substr(3) + "\n" : "", "\n");
    }
    REQUIRE(lines_of(lab, lab.fasta("f.fa", forward), asked) == alone_forward);
    REQUIRE(lines_of(lab, lab.fasta("b.fa", backward), asked, 50) == alone_backward);
    write_text(lab.file("uneven.fa"), uneven);
    REQUIRE(lines_of(lab, lab.file("uneven.fa"), asked, 100, 2) == alone_forward);
}

TEST_CASE("score: a hundred thousand bases in chunks and threads", "[.slow][score]") {
    const std::string bases = test::gapped_bases(100'003, 23, 6, 500);
    check_chunks(bases, {0, 1, ScoreStrand::both}, {3, 64, 1000, 4096, 100'003});
    check_chunks(bases, {8192, 1, ScoreStrand::both}, {64, 4096});
}
