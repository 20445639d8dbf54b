#include "pipelines/lanes.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace mambase::pipelines {

namespace {

/// The token id of a code: the model never sees the soft-mask bit.
constexpr std::uint8_t kIdBits = 0x7F;

std::int64_t length_of(const io::WindowPiece& piece) {
    return static_cast<std::int64_t>(piece.codes.size());
}

/// Codes of a slice moved on by one: what the positions of the slice predict. Where the window
/// ends there is nothing to predict, and the last is N.
void next_codes(const LaneSlice& slice, std::uint8_t n, std::uint8_t* out) {
    const io::WindowPiece& piece = slice.source->piece;
    const auto from = piece.codes.begin() + slice.offset + 1;
    if (slice.offset + slice.count < length_of(piece)) {
        std::copy(from, from + slice.count, out);
        return;
    }
    std::copy(from, piece.codes.end(), out);
    out[slice.count - 1] = piece.next < 0 ? n : static_cast<std::uint8_t>(piece.next);
}

}  // namespace

Lanes::Lanes(Engine& engine, const model::Model& model, std::int64_t chunk, Compute compute)
    : engine_(engine), model_(model), chunk_(chunk), compute_(std::move(compute)) {}

void Lanes::add(TaggedPiece piece) {
    const std::int64_t length = length_of(piece.piece);
    if (length == 0) {
        return;
    }
    if (!piece.piece.first || !piece.piece.last || length > chunk_) {
        flush();
        run_alone(piece);
        return;
    }
    const auto lanes = static_cast<std::int64_t>(pending_.size()) + 1;
    const std::int64_t longest = std::max(pending_longest_, length);
    // Lanes shorter than the longest are computed through to its end, so no more than half of a
    // call may be such filling.
    const bool wasteful = lanes * longest > 2 * (pending_codes_ + length);
    if (lanes > engine_.most_lanes() || lanes * longest > engine_.rows_together() || wasteful) {
        flush();
    }
    pending_longest_ = std::max(pending_longest_, length);
    pending_codes_ += length;
    pending_.push_back(std::move(piece));
}

void Lanes::flush() {
    if (pending_.empty()) {
        return;
    }
    std::vector<LaneSlice> slices;
    slices.reserve(pending_.size());
    for (const TaggedPiece& piece : pending_) {
        slices.push_back({&piece, 0, length_of(piece.piece)});
    }
    const auto lanes = static_cast<std::int64_t>(slices.size());
    if (lanes_ && lanes_->lanes() == lanes) {
        lanes_->reset();
    } else {
        lanes_.emplace(model_.config(), lanes, engine_.queue());
    }
    call(slices, pending_longest_, *lanes_);
    pending_.clear();
    pending_longest_ = 0;
    pending_codes_ = 0;
}

void Lanes::run_alone(const TaggedPiece& piece) {
    if (!carried_) {
        carried_.emplace(model_.config(), 1, engine_.queue());
    }
    if (piece.piece.first) {
        carried_->reset();
    }
    const std::int64_t length = length_of(piece.piece);
    for (std::int64_t offset = 0; offset < length; offset += chunk_) {
        const LaneSlice slice{&piece, offset, std::min(chunk_, length - offset)};
        call({&slice, 1}, slice.count, *carried_);
    }
}

void Lanes::call(std::span<const LaneSlice> lanes, std::int64_t length, model::StateBank& bank) {
    const auto batch = static_cast<std::int64_t>(lanes.size());
    const StepMemory::Scope device_scope(engine_.step());
    const StepMemory::Scope host_scope(engine_.host());
    const TensorView ids = engine_.host().take(DType::u8, {batch, length});
    const TensorView valid = engine_.host().take(DType::i64, {batch});
    const auto id = ids.as<std::uint8_t, 2>();
    const auto counts = valid.as<std::int64_t, 1>();
    for (std::int64_t b = 0; b < batch; ++b) {
        const LaneSlice& slice = lanes[static_cast<std::size_t>(b)];
        const std::uint8_t* codes = slice.source->piece.codes.data() + slice.offset;
        std::uint8_t* row = &id(b);
        for (std::int64_t t = 0; t < slice.count; ++t) {
            row[t] = codes[t] & kIdBits;
        }
        std::fill(row + slice.count, row + length, std::uint8_t{0});
        counts(b) = slice.count;
    }
    ops::Context& context = engine_.context();
    compute_({.ids = ops::on_device(context, ids),
              .valid = ops::on_device(context, valid),
              .segment = {}},
             bank, lanes);
}

namespace {

void compute_hidden(Engine& engine,
                    const model::Model& model,
                    std::int64_t layer,
                    const HiddenLanes::Sink& sink,
                    const model::Chunk& chunk,
                    model::StateBank& bank,
                    std::span<const LaneSlice> lanes) {
    const StepMemory::Scope device_scope(engine.step());
    const StepMemory::Scope host_scope(engine.host());
    const TensorView hidden = engine.step().take(
        DType::f32, {chunk.ids.extent(0), chunk.ids.extent(1), model.config().d_model});
    model::forward_hidden(engine.context(), model, chunk, bank, layer, hidden);
    const auto rows = ops::on_host(engine.context(), hidden).as<const float, 3>();
    for (std::size_t b = 0; b < lanes.size(); ++b) {
        const LaneSlice& slice = lanes[b];
        const io::WindowPiece& piece = slice.source->piece;
        const std::int64_t start = piece.begin + slice.offset;
        const std::int64_t begin = std::max(piece.score_begin, start);
        const std::int64_t end = std::min(piece.score_end, start + slice.count);
        if (begin < end) {
            sink({*slice.source, begin, end - begin,
                  &rows(static_cast<std::int64_t>(b), begin - start),
                  piece.codes.data() + (begin - piece.begin)});
        }
    }
}

/// What one call of LossLanes scores, [B,T] each, on the host.
struct Targets {
    TensorView codes;   // u8, with soft mask
    TensorView ids;     // u8
    TensorView weight;  // f32

    Targets(StepMemory& host, std::int64_t batch, std::int64_t length)
        : codes(host.take(DType::u8, {batch, length})),
          ids(host.take(DType::u8, {batch, length})),
          weight(host.take(DType::f32, {batch, length})) {}
};

/// The positions of a slice whose next base counts, [begin, end) of the slice.
io::Interval scored_part(const LaneSlice& slice) {
    const io::WindowPiece& piece = slice.source->piece;
    const std::int64_t first_target = piece.begin + slice.offset + 1;
    const bool at_end = slice.offset + slice.count == length_of(piece);
    const std::int64_t targets = slice.count - (at_end && piece.next < 0 ? 1 : 0);
    const std::int64_t begin = std::max(piece.score_begin, first_target);
    const std::int64_t end = std::min(piece.score_end, first_target + targets);
    return {begin - first_target, std::max(begin, end) - first_target};
}

void fill_targets(std::span<const LaneSlice> lanes,
                  const io::Tokenizer& tokenizer,
                  const Targets& views) {
    const auto codes = views.codes.as<std::uint8_t, 2>();
    const auto targets = views.ids.as<std::uint8_t, 2>();
    const auto weight = views.weight.as<float, 2>();
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
        const LaneSlice& slice = lanes[lane];
        const auto b = static_cast<std::int64_t>(lane);
        const io::Interval scored = scored_part(slice);
        next_codes(slice, tokenizer.n(), &codes(b));
        std::fill(&codes(b) + slice.count, &codes(b) + codes.extent[1], tokenizer.n());
        for (std::int64_t t = 0; t < codes.extent[1]; ++t) {
            const std::uint8_t code = codes(b, t);
            const bool counts = t >= scored.begin && t < scored.end && tokenizer.is_acgt(code);
            targets(b, t) = code & kIdBits;
            weight(b, t) = counts ? 1.0F : 0.0F;
        }
    }
}

void compute_losses(Engine& engine,
                    const model::Model& model,
                    const io::Tokenizer& tokenizer,
                    bool with_logits,
                    const LossLanes::Sink& sink,
                    const model::Chunk& chunk,
                    model::StateBank& bank,
                    std::span<const LaneSlice> lanes) {
    const std::int64_t batch = chunk.ids.extent(0);
    const std::int64_t length = chunk.ids.extent(1);
    ops::Context& context = engine.context();
    const StepMemory::Scope device_scope(engine.step());
    const StepMemory::Scope host_scope(engine.host());
    const Targets targets(engine.host(), batch, length);
    fill_targets(lanes, tokenizer, targets);
    const std::array<std::uint8_t, 4> acgt = tokenizer.acgt();
    const TensorView loss = engine.step().take(DType::f64, {batch, length});
    const TensorView best = engine.step().take(DType::u8, {batch, length});
    const TensorView logits =
        with_logits ? engine.step().take(DType::f32, {batch, length, model.config().vocab_size})
                    : TensorView();
    model::forward_losses(
        context, model, chunk, bank,
        {.targets = ops::on_device(context, targets.ids),
         .weight = ops::on_device(context, targets.weight),
         .support = ops::on_device(context, ConstTensorView(acgt.data(), DType::u8, {4})),
         .loss = loss,
         .best = best,
         .logits = logits});
    const auto nats = ops::on_host(context, loss).as<const double, 2>();
    const auto likeliest = ops::on_host(context, best).as<const std::uint8_t, 2>();
    const auto scores =
        (with_logits ? ops::on_host(context, logits) : ConstTensorView()).as<const float, 3>();
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
        const auto b = static_cast<std::int64_t>(lane);
        const LaneSlice& slice = lanes[lane];
        const io::Interval scored = scored_part(slice);
        if (scored.size() > 0) {
            sink({*slice.source, slice.source->piece.begin + slice.offset + 1 + scored.begin,
                  scored.size(), &targets.codes.as<std::uint8_t, 2>()(b, scored.begin),
                  &targets.weight.as<float, 2>()(b, scored.begin), &nats(b, scored.begin),
                  &likeliest(b, scored.begin), scores ? &scores(b, scored.begin) : nullptr});
        }
    }
}

}  // namespace

HiddenLanes::HiddenLanes(
    Engine& engine, const model::Model& model, std::int64_t chunk, std::int64_t layer, Sink sink)
    : lanes_(
          engine,
          model,
          chunk,
          [&engine, &model, layer, sink = std::move(sink)](
              const model::Chunk& piece, model::StateBank& bank, std::span<const LaneSlice> lanes) {
              compute_hidden(engine, model, layer, sink, piece, bank, lanes);
          }) {}

LossLanes::LossLanes(Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t chunk,
                     Sink sink,
                     bool with_logits)
    : lanes_(
          engine,
          model,
          chunk,
          [&engine, &model, &tokenizer, with_logits, sink = std::move(sink)](
              const model::Chunk& piece, model::StateBank& bank, std::span<const LaneSlice> lanes) {
              compute_losses(engine, model, tokenizer, with_logits, sink, piece, bank, lanes);
          }) {}

}  // namespace mambase::pipelines
