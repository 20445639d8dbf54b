#include "pipelines/window_scores.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

bool has_bases(std::span<const std::uint8_t> codes, const io::Tokenizer& tokenizer) {
    return std::any_of(codes.begin(), codes.end(),
                       [&](std::uint8_t code) { return tokenizer.is_acgt(code); });
}

WindowScores::WindowScores(Engine& engine,
                           const model::Model& model,
                           const io::Tokenizer& tokenizer,
                           model::HeadPool pool,
                           CallSize size,
                           Sink sink)
    : engine_(engine),
      model_(model),
      tokenizer_(tokenizer),
      pool_(pool),
      sink_(std::move(sink)),
      scores_(static_cast<std::size_t>(model.config().n_classes)),
      lanes_(
          engine,
          model,
          size,
          [this](const LaneCall& call) { return ask(call); },
          PooledLanes::result_bytes(model.config())) {}

void WindowScores::add(std::int64_t tag, std::span<const std::uint8_t> codes) {
    add_strand(tag, io::Strand::forward, {codes.begin(), codes.end()});
    std::vector<std::uint8_t> reverse(codes.size());
    std::transform(codes.begin(), codes.end(), reverse.rbegin(),
                   [&](std::uint8_t code) { return tokenizer_.complement(code); });
    add_strand(tag, io::Strand::reverse, std::move(reverse));
}

void WindowScores::add_strand(std::int64_t tag,
                              io::Strand strand,
                              std::vector<std::uint8_t> codes) {
    TaggedPiece tagged;
    tagged.tag = tag;
    tagged.piece.strand = strand;
    tagged.piece.codes = std::move(codes);
    tagged.piece.first = true;
    tagged.piece.last = true;
    lanes_.add(std::move(tagged));
}

/// Windows of a call begin and end with it, or there is one, in slices.
Lanes::Take WindowScores::ask(const LaneCall& call) {
    ops::Context& context = engine_.context();
    const std::span<const LaneSlice> slices = call.slices;
    const TensorView window = call.host.take(DType::i32, call.chunk.ids.shape());
    const auto windows = window.as<std::int32_t, 2>();
    std::fill_n(&windows(0), window.count(), std::int32_t{-1});
    for (const LaneSlice& slice : slices) {
        const auto number = static_cast<std::int32_t>(&slice - slices.data());
        const std::uint8_t* const codes = slice.source->piece.codes.data() + slice.offset;
        std::transform(codes, codes + slice.count, &windows(slice.place.lane, slice.place.at),
                       [&](std::uint8_t code) { return tokenizer_.is_acgt(code) ? number : -1; });
    }
    const auto count = static_cast<std::int64_t>(slices.size());
    if (slices.front().offset == 0) {
        if (!sum_ || sum_.shape()[1] != count) {
            Allocator& memory = engine_.queue().memory();
            sum_ = Tensor(memory, DType::f64, {1, count, model_.config().d_model}, "pooled rows");
            count_ = Tensor(memory, DType::i64, {1, count}, "numbers of pooled rows");
        }
        zero(engine_.queue(), sum_.view());
        zero(engine_.queue(), count_.view());
    }
    model::forward_pooled(context, model_, call.chunk, call.bank, model::kLastLayer,
                          {.group = ops::on_device(context, window),
                           .mode = model::pool_mode(pool_),
                           .sum = sum_.view(),
                           .count = count_.view()});
    const LaneSlice& first = slices.front();
    if (first.offset + first.count < static_cast<std::int64_t>(first.source->piece.codes.size())) {
        return [] {};
    }
    const TensorView logits = call.device.take(DType::f32, {1, count, model_.config().n_classes});
    model::class_logits(context, model_, {sum_.view(), count_.view()}, pool_, logits);
    const auto rows = ops::fetched(context, logits, call.host).as<const float, 3>();
    return [this, rows, slices] {
        for (std::size_t i = 0; i < slices.size(); ++i) {
            take(*slices[i].source, &rows(0, static_cast<std::int64_t>(i)));
        }
    };
}

void WindowScores::take(const TaggedPiece& piece, const float* logits) {
    if (piece.piece.strand == io::Strand::forward) {
        std::copy_n(logits, scores_.size(), scores_.begin());
        return;
    }
    std::transform(scores_.begin(), scores_.end(), logits, scores_.begin(),
                   [](double a, float b) { return 0.5 * (a + static_cast<double>(b)); });
    sink_(piece.tag, scores_);
}

ScoredSet score_windows(Engine& engine,
                        const model::Model& model,
                        const SampleSet& samples,
                        const std::vector<LabelledWindow>& windows,
                        std::int64_t bases,
                        model::HeadPool pool,
                        CallSize size,
                        const Runtime& runtime) {
    ScoredSet out{model.config().n_classes, {}, {}};
    WindowScores scores(engine, model, samples.tokenizer(), pool, size,
                        [&](std::int64_t label, std::span<const double> row) {
                            out.add(label, row);
                            runtime.throw_if_stopped();
                        });
    for (const LabelledWindow& window : windows) {
        const auto codes = samples.codes(window).first(static_cast<std::size_t>(bases));
        if (has_bases(codes, samples.tokenizer())) {
            scores.add(window.label, codes);
        }
    }
    scores.flush();
    return out;
}

}  // namespace mambase::pipelines
