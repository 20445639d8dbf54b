// How near the 6-mers of generated sequence are to those of the sequence that its model was trained
// on, beside samples of Markov models.
//
//     kmer_spectrum TRAINING.fa GENERATED.fa [ORDER …]     default orders: 1 3 5 8 11
//
// Prints the Jensen-Shannon distance (square root of the divergence in bits: 0 same, 1 disjoint)
// between the 6-mers of TRAINING, both strands, and those of: GENERATED; a sample of a Markov model
// of each order fitted on TRAINING, records as many and as long as GENERATED's, mean of five seeds
// with the largest difference from it; and so many stretches of TRAINING itself from places drawn
// at random, which is as near as a sample of that size comes.
#include "base/error.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/markov.hpp"
#include "pipelines/next_base.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

using namespace mambase;

namespace {

constexpr int kWord = 6;
constexpr std::size_t kWords = 1U << (2 * kWord);
constexpr int kSeeds = 5;

/// 0 … 3 for A, C, G, T, and -1 for anything else.
using Bases = std::vector<std::int8_t>;

std::vector<Bases> read_records(const std::string& path) {
    const io::Tokenizer& tokenizer = io::Tokenizer::named("dna");
    const auto source = io::open_sequences(path, {});
    std::vector<Bases> records;
    std::vector<std::uint8_t> codes;
    io::Segment segment;
    while (source->next(segment)) {
        if (segment.first) {
            records.emplace_back();
        }
        codes.resize(segment.bases.size());
        tokenizer.encode(segment.bases, codes.data());
        for (const std::uint8_t code : codes) {
            const int base = (code & 0x7F) - tokenizer.acgt().front();
            records.back().push_back(static_cast<std::int8_t>(tokenizer.is_acgt(code) ? base : -1));
        }
    }
    return records;
}

/// Shares of the words of both strands.
class Spectrum {
  public:
    void add(const Bases& bases) {
        std::uint32_t word = 0;
        std::uint32_t other = 0;  // the same bases on the other strand
        int known = 0;
        for (const std::int8_t base : bases) {
            if (base < 0) {
                known = 0;
                continue;
            }
            const auto bits = static_cast<std::uint32_t>(base);
            word = ((word << 2) | bits) & pipelines::word_mask(kWord);
            other = (other >> 2) | ((3 - bits) << (2 * (kWord - 1)));
            if (++known >= kWord) {
                ++counts_[word];
                ++counts_[other];
                total_ += 2.0;
            }
        }
    }
    double share(std::size_t word) const { return counts_[word] / total_; }

  private:
    std::vector<double> counts_ = std::vector<double>(kWords);
    double total_ = 0.0;
};

double distance(const Spectrum& a, const Spectrum& b) {
    const auto part = [](double p, double mean) { return p > 0.0 ? p * std::log2(p / mean) : 0.0; };
    double sum = 0.0;
    for (std::size_t word = 0; word < kWords; ++word) {
        const double mean = (a.share(word) + b.share(word)) / 2.0;
        sum += (part(a.share(word), mean) + part(b.share(word), mean)) / 2.0;
    }
    return std::sqrt(std::max(sum, 0.0));
}

Spectrum spectrum_of(const std::vector<Bases>& records) {
    Spectrum out;
    for (const Bases& record : records) {
        out.add(record);
    }
    return out;
}

/// Drawn from the model, the first bases from its lower orders.
Bases draw_markov(const pipelines::MarkovModel& model,
                  int order,
                  std::size_t length,
                  const CounterRng& draws) {
    Bases out;
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < length; ++i) {
        const int known = static_cast<int>(std::min(i, static_cast<std::size_t>(order)));
        const std::uint32_t before = (word << 2) & pipelines::word_mask(known + 1);
        pipelines::BaseProbabilities next{};
        for (std::uint32_t base = 0; base < 4; ++base) {
            next[base] = std::exp(-model.nats(known, before + base));
        }
        const int base = pipelines::draw_base(next, draws.uniform(i));
        word = before + static_cast<std::uint32_t>(base);
        out.push_back(static_cast<std::int8_t>(base));
    }
    return out;
}

/// A stretch of A, C, G and T alone from anywhere in the records.
Bases draw_stretch(const std::vector<Bases>& records, std::size_t length, const CounterRng& draws) {
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        const Bases& record = records[draws.below(2 * i, records.size())];
        if (record.size() < length) {
            continue;
        }
        const auto from = record.begin() + static_cast<std::ptrdiff_t>(
                                               draws.below(2 * i + 1, record.size() - length + 1));
        const Bases out(from, from + static_cast<std::ptrdiff_t>(length));
        if (*std::min_element(out.begin(), out.end()) >= 0) {
            return out;
        }
    }
    throw Error(ErrorCode::usage,
                concat("no stretch of ", length, " bases in what was trained on"));
}

/// A line of the table: the mean over seeds of what `draw` makes of each length.
template <class Draw>
void print_samples(const std::string& name,
                   const Spectrum& training,
                   const std::vector<Bases>& like,
                   const Draw& draw) {
    std::array<double, kSeeds> found{};
    double mean = 0.0;
    for (int seed = 0; seed < kSeeds; ++seed) {
        Spectrum sample;
        for (std::size_t i = 0; i < like.size(); ++i) {
            sample.add(draw(like[i].size(), CounterRng(static_cast<std::uint64_t>(seed), i)));
        }
        found[static_cast<std::size_t>(seed)] = distance(training, sample);
        mean += found[static_cast<std::size_t>(seed)] / kSeeds;
    }
    double spread = 0.0;
    for (const double one : found) {
        spread = std::max(spread, std::abs(one - mean));
    }
    std::printf("%-28s %8.4f  +- %.4f\n", name.c_str(), mean, spread);
}

void compare(const std::string& training_path,
             const std::string& generated_path,
             const std::vector<int>& orders) {
    const std::vector<Bases> training = read_records(training_path);
    const std::vector<Bases> generated = read_records(generated_path);
    pipelines::MarkovModel markov(*std::max_element(orders.begin(), orders.end()));
    for (const Bases& record : training) {
        for (const std::int8_t base : record) {
            base < 0 ? markov.end_stretch() : markov.add(base);
        }
        markov.end_stretch();
    }
    markov.fit();

    const Spectrum spectrum = spectrum_of(training);
    std::printf("%-28s %8s\n", "6-mers of", "distance");
    std::printf("%-28s %8.4f\n", "generated", distance(spectrum, spectrum_of(generated)));
    for (const int order : orders) {
        print_samples(concat("Markov order ", order), spectrum, generated,
                      [&](std::size_t length, const CounterRng& draws) {
                          return draw_markov(markov, order, length, draws);
                      });
    }
    print_samples("stretches of the training", spectrum, generated,
                  [&](std::size_t length, const CounterRng& draws) {
                      return draw_stretch(training, length, draws);
                  });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: kmer_spectrum TRAINING.fa GENERATED.fa [ORDER ...]\n");
        return 2;
    }
    try {
        std::vector<int> orders;
        for (int i = 3; i < argc; ++i) {
            orders.push_back(static_cast<int>(parse_size(argv[i], SizeUnits::decimal)));
        }
        compare(argv[1], argv[2], orders.empty() ? std::vector<int>{1, 3, 5, 8, 11} : orders);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "kmer_spectrum: %s\n", error.what());
        return 1;
    }
    return 0;
}
