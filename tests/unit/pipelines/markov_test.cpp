#include "pipelines/markov.hpp"

#include "base/error.hpp"
#include "pipelines/baseline.hpp"
#include "pipelines/reading.hpp"
#include "tests/support/pipeline_lab.hpp"

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

constexpr std::string_view kBases = "ACGT";

/// Counts by the definition: words of `order` + 1 bases on both strands of every stretch.
class NaiveModel {
  public:
    NaiveModel(const std::vector<std::string>& stretches, int order) : order_(order) {
        for (const std::string& stretch : stretches) {
            count(stretch);
            count(test::mirrored_bases(stretch));
        }
    }
    double nats(const std::string& word) const {
        double total = 4.0;
        for (const char base : kBases) {
            total += of(word.substr(0, word.size() - 1) + base);
        }
        return -std::log((of(word) + 1.0) / total);
    }

  private:
    void count(const std::string& text) {
        const auto size = static_cast<std::size_t>(order_) + 1;
        for (std::size_t i = 0; i + size <= text.size(); ++i) {
            ++counts_[text.substr(i, size)];
        }
    }
    double of(const std::string& word) const {
        const auto found = counts_.find(word);
        return found == counts_.end() ? 0.0 : found->second;
    }

    int order_;
    std::map<std::string, double> counts_;
};

std::string word_text(std::uint32_t word, int bases) {
    std::string out;
    for (int i = bases - 1; i >= 0; --i) {
        out += kBases[(word >> (2 * i)) & 3U];
    }
    return out;
}

void feed(MarkovModel& model, const std::string& stretch) {
    for (const char base : stretch) {
        model.add(static_cast<int>(kBases.find(base)));
    }
    model.end_stretch();
}

}  // namespace

TEST_CASE("all orders of one pass count as the definition says", "[markov]") {
    const int order = GENERATE(0, 1, 2, 4);
    const std::vector<std::string> stretches = {
        "",     "A",     "GC",  "ACGTACGTTTGCA",           "AAAAAAAA",
        "TGCA", "ACACA", "CAT", test::markov_bases(900, 4)};
    MarkovModel model(order);
    for (const std::string& stretch : stretches) {
        feed(model, stretch);
    }
    model.fit();
    for (int k = 0; k <= order; ++k) {
        const NaiveModel naive(stretches, k);
        for (std::uint32_t word = 0; word <= word_mask(k + 1); ++word) {
            INFO("order " << k << " of " << order << ", " << word_text(word, k + 1));
            REQUIRE(model.nats(k, word) ==
                    Approx(naive.nats(word_text(word, k + 1))).epsilon(1e-14));
        }
    }
}

TEST_CASE("four bases share one, and one of them is best", "[markov]") {
    MarkovModel model(3);
    feed(model, test::markov_bases(500, 9));
    model.fit();
    for (std::uint32_t first = 0; first < 256; first += 4) {
        double sum = 0.0;
        int best = 0;
        for (std::uint32_t base = 0; base < 4; ++base) {
            sum += std::exp(-model.nats(3, first + base));
            best += model.is_best(3, first + base) ? 1 : 0;
        }
        REQUIRE(sum == Approx(1.0));
        REQUIRE(best == 1);
    }
}

TEST_CASE("orders past the largest are refused", "[markov]") {
    REQUIRE(failure_of([] { MarkovModel(13); }).find("0 to 12, not 13") != std::string::npos);
    REQUIRE(failure_of([] { MarkovModel(-1); }).find("usage") == 0);
}

TEST_CASE("a baseline scores the bases a model is scored on", "[markov]") {
    const test::PipelineLab lab;
    const std::string bases = "ACGTTGCANNACGTRACCA" + std::string(5, 'N') + "ggatccATT";
    const std::string path = lab.fasta("a.fa", {"chr", bases});
    const io::Tokenizer& dna = io::Tokenizer::named("dna");
    const std::vector<int> orders = {2, 3};
    MarkovBaseline baseline(orders, dna);
    baseline.fit({path}, {}, lab.runtime());

    io::WindowPiece piece;
    piece.codes.resize(bases.size());
    dna.encode(bases, piece.codes.data());
    piece.first = true;
    piece.last = true;
    piece.score_end = static_cast<std::int64_t>(bases.size());
    baseline.start(kWholeContext);
    baseline.score(piece, 0);
    const std::vector<CaseTally> tallies = baseline.next_block();

    // Letters that are no base part the record; the first base of all is not predicted.
    const std::vector<std::string> stretches = {"ACGTTGCA", "ACGT", "ACCA", "GGATCCATT"};
    for (std::size_t i = 0; i < 2; ++i) {
        const int order = orders[i];
        double nats = 0.0;
        std::int64_t scored = 0;
        for (const std::string& stretch : stretches) {
            for (std::size_t end = 1; end <= stretch.size(); ++end) {
                const std::size_t known =
                    std::min<std::size_t>(end, static_cast<std::size_t>(order) + 1);
                if (&stretch == stretches.data() && end == 1) {
                    continue;
                }
                const NaiveModel naive(stretches, static_cast<int>(known) - 1);
                nats += naive.nats(stretch.substr(end - known, known));
                ++scored;
            }
        }
        REQUIRE(tallies[i].all().bases == scored);
        REQUIRE(tallies[i].all().nats == Approx(nats).epsilon(1e-13));
        REQUIRE(tallies[i].lower.bases == 6);
    }
}

TEST_CASE("a baseline gives its sums block by block", "[markov]") {
    const test::PipelineLab lab;
    const io::Tokenizer& dna = io::Tokenizer::named("dna");
    MarkovBaseline baseline({1}, dna);
    baseline.fit({lab.fasta("a.fa", {"chr", test::markov_bases(500, 3)})}, {}, lab.runtime());
    const auto piece_of = [&](const std::string& bases) {
        io::WindowPiece piece;
        piece.codes.resize(bases.size());
        dna.encode(bases, piece.codes.data());
        piece.first = piece.last = true;
        piece.score_end = static_cast<std::int64_t>(bases.size());
        return piece;
    };
    baseline.start(10);
    baseline.score(piece_of("ACGTACGTACGT" + std::string(12, 'N') + "ACGT"), 0);
    baseline.score(piece_of("ACGT"), 1);
    std::vector<std::int64_t> bases;
    for (int block = 0; block < 4; ++block) {
        bases.push_back(baseline.next_block().front().all().bases);
    }
    REQUIRE(bases == std::vector<std::int64_t>{9, 2, 4, 3});
}

TEST_CASE("human chromosomes give the figures of the data's table", "[.slow][markov]") {
    const std::string data = std::string(MAMBASE_SHARED_DATA) + "/human_hg19/";
    const std::string train = data + "chrX_1-69999930.fa.gz";
    const std::string test = data + "chr21.fa.gz";
    if (!std::filesystem::exists(train) || !std::filesystem::exists(test)) {
        WARN("skipped: no " << data);
        return;
    }
    const test::PipelineLab lab;
    const io::Tokenizer& dna = io::Tokenizer::named("dna");
    const std::vector<int> orders = {1, 2, 4, 6, 8, 10, 11};
    MarkovBaseline baseline(orders, dna);
    baseline.fit({train}, {}, lab.runtime());
    io::WindowReader windows(io::open_fasta(test, {}), dna, {}, io::Strand::forward);
    io::WindowPiece piece;
    baseline.start(kWholeContext);
    while (windows.next(piece)) {
        baseline.score(piece, 0);
    }
    const std::vector<CaseTally> tallies = baseline.next_block();
    const std::vector<double> bits = {1.935, 1.924, 1.912, 1.888, 1.847, 1.811, 1.810};
    for (std::size_t i = 0; i < bits.size(); ++i) {
        INFO("order " << orders[i]);
        REQUIRE(tallies[i].all().bits() == Approx(bits[i]).margin(6e-4));
    }
}
