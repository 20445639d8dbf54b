#include "pipelines/lanes.hpp"

#include "base/checked_math.hpp"

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

LanePlace LanePacking::add(std::int64_t window) {
    longest_ = std::max(longest_, window);
    codes_ += window;
    const bool crosses = end_ / tile_ != (end_ + window - 1) / tile_;
    LanePlace place{lanes_ - 1, crosses ? round_up(end_, tile_) : end_};
    if (lanes_ == 0 || place.at + window > std::max(tile_, longest_)) {
        place = {lanes_, 0};
        ++lanes_;
    }
    end_ = place.at + window;
    length_ = std::max(length_, end_);
    return place;
}

Lanes::Lanes(Engine& engine, const model::Model& model, std::int64_t chunk, Compute compute)
    : engine_(engine),
      model_(model),
      chunk_(chunk),
      compute_(std::move(compute)),
      packing_(engine.run_tile()) {}

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
    LanePacking packing = packing_;
    LanePlace place = packing.add(length);
    if (packing.rows() > engine_.rows_together() || packing.is_wasteful()) {
        flush();
        packing = packing_;
        place = packing.add(length);
    }
    packing_ = packing;
    places_.push_back(place);
    pending_.push_back(std::move(piece));
}

void Lanes::flush() {
    if (pending_.empty()) {
        return;
    }
    std::vector<LaneSlice> slices;
    slices.reserve(pending_.size());
    for (std::size_t i = 0; i < pending_.size(); ++i) {
        slices.push_back({&pending_[i], 0, length_of(pending_[i].piece), places_[i]});
    }
    if (lanes_ && lanes_->lanes() == packing_.lanes()) {
        lanes_->reset();
    } else {
        lanes_.emplace(model_.config(), packing_.lanes(), engine_.queue());
    }
    call(slices, packing_.length(), *lanes_);
    pending_.clear();
    places_.clear();
    packing_ = LanePacking(engine_.run_tile());
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
        const LaneSlice slice{&piece, offset, std::min(chunk_, length - offset), {}};
        call({&slice, 1}, slice.count, *carried_);
    }
}

void Lanes::call(std::span<const LaneSlice> slices, std::int64_t length, model::StateBank& bank) {
    const std::int64_t lanes = bank.lanes();
    const StepMemory::Scope device_scope(engine_.step());
    const StepMemory::Scope host_scope(engine_.host());
    const bool shared = static_cast<std::int64_t>(slices.size()) > lanes;
    const TensorView ids = engine_.host().take(DType::u8, {lanes, length});
    const TensorView segment = engine_.host().take(DType::i32, {lanes, shared ? length : 0});
    const TensorView valid = engine_.host().take(DType::i64, {lanes});
    const auto id = ids.as<std::uint8_t, 2>();
    const auto segments = segment.as<std::int32_t, 2>();
    const auto ends = valid.as<std::int64_t, 1>();
    // Positions between two windows are a segment of their own that nobody asks for.
    std::fill_n(&id(0), ids.count(), std::uint8_t{0});
    std::fill_n(static_cast<std::int32_t*>(segment.data()), segment.count(), -1);
    for (const LaneSlice& slice : slices) {
        const auto [lane, at] = slice.place;
        const std::uint8_t* codes = slice.source->piece.codes.data() + slice.offset;
        std::transform(codes, codes + slice.count, &id(lane, at),
                       [](std::uint8_t code) { return static_cast<std::uint8_t>(code & kIdBits); });
        if (shared) {
            const auto number = static_cast<std::int32_t>(&slice - slices.data());
            std::fill_n(&segments(lane, at), slice.count, number);
        }
        ends(lane) = at + slice.count;
    }
    ops::Context& context = engine_.context();
    compute_({.ids = ops::on_device(context, ids),
              .valid = ops::on_device(context, valid),
              .segment = shared ? ops::on_device(context, segment) : ConstTensorView()},
             bank, slices);
}

namespace {

void compute_hidden(Engine& engine,
                    const model::Model& model,
                    std::int64_t layer,
                    const HiddenLanes::Sink& sink,
                    const model::Chunk& chunk,
                    model::StateBank& bank,
                    std::span<const LaneSlice> slices) {
    const StepMemory::Scope device_scope(engine.step());
    const StepMemory::Scope host_scope(engine.host());
    const TensorView hidden = engine.step().take(
        DType::f32, {chunk.ids.extent(0), chunk.ids.extent(1), model.config().d_model});
    model::forward_hidden(engine.context(), model, chunk, bank, layer, hidden);
    const auto rows = ops::on_host(engine.context(), hidden).as<const float, 3>();
    for (const LaneSlice& slice : slices) {
        const io::WindowPiece& piece = slice.source->piece;
        const std::int64_t start = piece.begin + slice.offset;
        const std::int64_t begin = std::max(piece.score_begin, start);
        const std::int64_t end = std::min(piece.score_end, start + slice.count);
        if (begin < end) {
            sink({*slice.source, begin, end - begin,
                  &rows(slice.place.lane, slice.place.at + begin - start),
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

void fill_targets(std::span<const LaneSlice> slices,
                  const io::Tokenizer& tokenizer,
                  const Targets& views) {
    const auto codes = views.codes.as<std::uint8_t, 2>();
    const auto targets = views.ids.as<std::uint8_t, 2>();
    const auto weight = views.weight.as<float, 2>();
    std::fill_n(&targets(0), views.ids.count(), tokenizer.n());
    std::fill_n(&weight(0), views.weight.count(), 0.0F);
    for (const LaneSlice& slice : slices) {
        const auto [lane, at] = slice.place;
        const io::Interval scored = scored_part(slice);
        next_codes(slice, tokenizer.n(), &codes(lane, at));
        for (std::int64_t t = scored.begin; t < scored.end; ++t) {
            const std::uint8_t code = codes(lane, at + t);
            targets(lane, at + t) = code & kIdBits;
            weight(lane, at + t) = tokenizer.is_acgt(code) ? 1.0F : 0.0F;
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
                    std::span<const LaneSlice> slices) {
    const std::int64_t batch = chunk.ids.extent(0);
    const std::int64_t length = chunk.ids.extent(1);
    ops::Context& context = engine.context();
    const StepMemory::Scope device_scope(engine.step());
    const StepMemory::Scope host_scope(engine.host());
    const Targets targets(engine.host(), batch, length);
    fill_targets(slices, tokenizer, targets);
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
    for (const LaneSlice& slice : slices) {
        const io::Interval scored = scored_part(slice);
        const std::int64_t lane = slice.place.lane;
        const std::int64_t at = slice.place.at + scored.begin;
        if (scored.size() > 0) {
            sink({*slice.source, slice.source->piece.begin + slice.offset + 1 + scored.begin,
                  scored.size(), &targets.codes.as<std::uint8_t, 2>()(lane, at),
                  &targets.weight.as<float, 2>()(lane, at), &nats(lane, at), &likeliest(lane, at),
                  scores ? &scores(lane, at) : nullptr});
        }
    }
}

}  // namespace

HiddenLanes::HiddenLanes(
    Engine& engine, const model::Model& model, std::int64_t chunk, std::int64_t layer, Sink sink)
    : lanes_(engine,
             model,
             chunk,
             [&engine, &model, layer, sink = std::move(sink)](const model::Chunk& piece,
                                                              model::StateBank& bank,
                                                              std::span<const LaneSlice> slices) {
                 compute_hidden(engine, model, layer, sink, piece, bank, slices);
             }) {}

PooledLanes::PooledLanes(Engine& engine,
                         const model::Model& model,
                         const io::Tokenizer& tokenizer,
                         std::int64_t chunk,
                         std::int64_t layer,
                         ops::PoolMode mode,
                         RowOf row_of,
                         Sink sink)
    : engine_(engine),
      model_(model),
      tokenizer_(tokenizer),
      layer_(layer),
      mode_(mode),
      row_of_(std::move(row_of)),
      sink_(std::move(sink)),
      open_sum_(static_cast<std::size_t>(model.config().d_model)),
      lanes_(engine,
             model,
             chunk,
             [this](const model::Chunk& piece,
                    model::StateBank& bank,
                    std::span<const LaneSlice> slices) { compute(piece, bank, slices); }) {}

void PooledLanes::flush() {
    lanes_.flush();
    if (open_count_ > 0) {
        sink_(rows_.back(), open_sum_.data(), open_count_);
    }
    rows_.clear();
    open_count_ = 0;
}

void PooledLanes::group_positions(std::span<const LaneSlice> slices,
                                  const View<std::int32_t, 2>& group) {
    for (const LaneSlice& slice : slices) {
        const io::WindowPiece& piece = slice.source->piece;
        const std::int64_t start = piece.begin + slice.offset;
        const std::int64_t end = std::min(piece.score_end, start + slice.count);
        std::int64_t position = std::max(piece.score_begin, start);
        while (position < end) {
            const PooledStretch stretch = row_of_(*slice.source, {position, end});
            if (rows_.empty() || rows_.back() != stretch.row) {
                rows_.push_back(stretch.row);
            }
            const auto id = static_cast<std::int32_t>(rows_.size() - 1);
            for (; position < stretch.end; ++position) {
                const std::uint8_t code =
                    piece.codes[static_cast<std::size_t>(position - piece.begin)];
                group(slice.place.lane, slice.place.at + position - start) =
                    tokenizer_.is_acgt(code) ? id : -1;
            }
        }
    }
}

void PooledLanes::compute(const model::Chunk& chunk,
                          model::StateBank& bank,
                          std::span<const LaneSlice> slices) {
    ops::Context& context = engine_.context();
    const StepMemory::Scope device_scope(engine_.step());
    const StepMemory::Scope host_scope(engine_.host());
    const TensorView group = engine_.host().take(DType::i32, chunk.ids.shape());
    std::fill_n(static_cast<std::int32_t*>(group.data()), group.count(), -1);
    group_positions(slices, group.as<std::int32_t, 2>());
    const std::int64_t width = model_.config().d_model;
    const auto groups = static_cast<std::int64_t>(std::max<std::size_t>(rows_.size(), 1));
    const TensorView sum = engine_.step().take(DType::f64, {1, groups, width});
    const TensorView count = engine_.step().take(DType::i64, {1, groups});
    zero(engine_.queue(), sum);
    zero(engine_.queue(), count);
    if (open_count_ > 0) {
        const auto first = [](TensorView view) { return view.slice(1, 0, 1); };
        copy(engine_.queue(), ConstTensorView(open_sum_.data(), DType::f64, {1, 1, width}),
             first(sum));
        copy(engine_.queue(), ConstTensorView(&open_count_, DType::i64, {1, 1}), first(count));
    }
    model::forward_pooled(
        context, model_, chunk, bank, layer_,
        {.group = ops::on_device(context, group), .mode = mode_, .sum = sum, .count = count});
    const auto sums = ops::on_host(context, sum).as<const double, 3>();
    const auto counts = ops::on_host(context, count).as<const std::int64_t, 2>();
    for (std::int64_t i = 0; i + 1 < groups; ++i) {
        if (counts(0, i) > 0) {
            sink_(rows_[static_cast<std::size_t>(i)], &sums(0, i), counts(0, i));
        }
    }
    // The last one may go on in the next call.
    std::copy_n(&sums(0, groups - 1), width, open_sum_.data());
    open_count_ = counts(0, groups - 1);
    rows_.erase(rows_.begin(), rows_.end() - std::min<std::ptrdiff_t>(std::ssize(rows_), 1));
}

LossLanes::LossLanes(Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t chunk,
                     Sink sink,
                     bool with_logits)
    : lanes_(engine,
             model,
             chunk,
             [&engine, &model, &tokenizer, with_logits, sink = std::move(sink)](
                 const model::Chunk& piece,
                 model::StateBank& bank,
                 std::span<const LaneSlice> slices) {
                 compute_losses(engine, model, tokenizer, with_logits, sink, piece, bank, slices);
             }) {}

}  // namespace mambase::pipelines
