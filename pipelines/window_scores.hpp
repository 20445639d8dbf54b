// Windows through a classifier: scores of their classes, from both strands.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/classify_head.hpp"
#include "model/model.hpp"
#include "pipelines/calibration.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/samples.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace mambase::pipelines {

/// Whether there is an A, C, G or T.
bool has_bases(std::span<const std::uint8_t> codes, const io::Tokenizer& tokenizer);

class WindowScores {
  public:
    /// scores[C]: the mean of both strands' logits, so that a window and its reverse complement
    /// have the same bits.
    using Sink = std::function<void(std::int64_t tag, std::span<const double> scores)>;

    /// What is referred to has to outlive this.
    WindowScores(Engine& engine,
                 const model::Model& model,
                 const io::Tokenizer& tokenizer,
                 model::HeadPool pool,
                 CallSize size,
                 Sink sink);

    /// A window with at least one A, C, G or T. Scores come in the order of adding, when a call of
    /// the model is full; they depend on nothing but the window.
    void add(std::int64_t tag, std::span<const std::uint8_t> codes);
    /// Computes what is pending.
    void flush() { lanes_.flush(); }

  private:
    Lanes::Take ask(const LaneCall& call);
    void take(const TaggedPiece& piece, const float* logits);
    void add_strand(std::int64_t tag, io::Strand strand, std::vector<std::uint8_t> codes);

    Engine& engine_;
    const model::Model& model_;
    const io::Tokenizer& tokenizer_;
    model::HeadPool pool_;
    Sink sink_;
    Tensor sum_;                  // [1,G,D] of the windows being read
    Tensor count_;                // [1,G]
    std::vector<double> scores_;  // of the forward strand, until the reverse comes
    Lanes lanes_;
};

/// The scores of the first `bases` bases of each window, in order; without those of no A, C, G or T
/// (a whole window has some). Error{cancelled} on a stop.
ScoredSet score_windows(Engine& engine,
                        const model::Model& model,
                        const SampleSet& samples,
                        const std::vector<LabelledWindow>& windows,
                        std::int64_t bases,
                        model::HeadPool pool,
                        CallSize size,
                        const Runtime& runtime);

}  // namespace mambase::pipelines
