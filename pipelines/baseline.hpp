// Markov models beside a language model: fitted on files, scored on the same bases.
#pragma once

#include "genomics_io/fasta_source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "pipelines/markov.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/shard.hpp"
#include "pipelines/tally.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace mambase::pipelines {

class MarkovBaseline {
  public:
    /// At least one order, each 1 to kMaxMarkovOrder. `tokenizer` has to outlive this.
    MarkovBaseline(std::vector<int> orders, const io::Tokenizer& tokenizer);

    /// Counts every base of the files, once, for all orders. Errors as of the readers.
    void fit(const std::vector<std::string>& files,
             const io::ReadOptions& options,
             const Runtime& runtime);

    /// Of what it was fitted on: names and lengths.
    std::string digest() const { return roll_.digest(); }

    /// Begins to score, bases in blocks of this grid (see block_of).
    void start(std::int64_t grid);
    /// Scores the bases of a piece that a language model is scored on (see LossLanes). A base with
    /// fewer than K bases of A, C, G, T right before it in its window is predicted from those there
    /// are. Pieces of one window come one after the other, parts (numbers) too.
    void score(const io::WindowPiece& piece, std::int64_t part);
    /// The sums of the next block with scored bases, one an order: of one that is over, or, after
    /// the last piece, of the last.
    std::vector<CaseTally> next_block();

  private:
    void end_block();

    std::vector<int> orders_;
    const io::Tokenizer& tokenizer_;
    MarkovModel model_;
    Roll roll_;
    std::array<int, 128> base_of_id_{};  // 0 … 3; -1 for what is not A, C, G, T
    std::int64_t grid_ = 0;
    std::int64_t part_ = -1;
    std::int64_t block_ = -1;
    std::vector<CaseTally> sums_;                // of the block being scored
    std::deque<std::vector<CaseTally>> blocks_;  // that are over
    std::uint32_t word_ = 0;                     // of the window being scored: its latest bases
    int known_ = 0;  // how many of them are A, C, G, T in a row, up to the order + 1
};

}  // namespace mambase::pipelines
