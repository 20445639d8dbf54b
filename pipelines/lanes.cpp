#include "pipelines/lanes.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"

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

Lanes::Call::Call(Engine& engine)
    : device_memory(engine.queue().memory()),
      host_memory(engine.queue().host_memory()),
      device(engine.on_gpu() ? device_memory : host_memory) {}

Lanes::Lanes(
    Engine& engine, const model::Model& model, CallSize size, Ask ask, std::int64_t row_bytes)
    : engine_(engine),
      model_(model),
      size_(size),
      ask_(std::move(ask)),
      row_bytes_(row_bytes),
      packing_(engine.run_tile()),
      calls_{Call(engine), Call(engine)} {}

Lanes::~Lanes() {
    try {  // after an error copies may still be on their way
        engine_.queue().wait();
    } catch (...) {  // the device has failed, and has said so
    }
}

void Lanes::add(TaggedPiece piece) {
    const std::int64_t length = length_of(piece.piece);
    if (length == 0) {
        return;
    }
    if (!piece.piece.first || !piece.piece.last || length > size_.chunk) {
        run_pending();
        run_alone(std::move(piece));
        return;
    }
    LanePacking packing = packing_;
    LanePlace place = packing.add(length);
    if (packing.rows() > size_.rows || packing.is_wasteful()) {
        run_pending();
        packing = packing_;
        place = packing.add(length);
    }
    packing_ = packing;
    places_.push_back(place);
    pending_.push_back(std::move(piece));
}

void Lanes::flush() {
    run_pending();
    take_results();
}

void Lanes::run_pending() {
    if (pending_.empty()) {
        return;
    }
    Call& call = free_call();
    call.pieces = std::make_shared<const Pieces>(std::exchange(pending_, {}));
    for (std::size_t i = 0; i < call.pieces->size(); ++i) {
        const TaggedPiece& piece = (*call.pieces)[i];
        call.slices.push_back({&piece, 0, length_of(piece.piece), places_[i]});
    }
    if (call.lanes && call.lanes->lanes() == packing_.lanes()) {
        call.lanes->reset();
    } else {
        call.lanes.emplace(model_.config(), packing_.lanes(), engine_.queue());
    }
    call.bank = &*call.lanes;
    const std::int64_t length = packing_.length();
    places_.clear();
    packing_ = LanePacking(engine_.run_tile());
    ask(call, length);
}

void Lanes::run_alone(TaggedPiece piece) {
    if (!carried_) {
        carried_.emplace(model_.config(), 1, engine_.queue());
    }
    if (piece.piece.first) {
        take_results();  // an error tells of the states that are about to go
        carried_->reset();
    }
    const auto pieces = std::make_shared<const Pieces>(1, std::move(piece));
    const std::int64_t length = length_of(pieces->front().piece);
    for (std::int64_t offset = 0; offset < length; offset += size_.chunk) {
        Call& call = free_call();
        call.pieces = pieces;
        call.slices.push_back(
            {&pieces->front(), offset, std::min(size_.chunk, length - offset), {}});
        call.bank = &*carried_;
        ask(call, call.slices.front().count);
    }
}

Lanes::Call& Lanes::free_call() {
    Call& call = asked_ == &calls_[0] ? calls_[1] : calls_[0];
    call.slices.clear();
    return call;
}

void Lanes::ask(Call& call, std::int64_t length) {
    try {
        ask_for(call, length);
    } catch (Error& error) {
        if (error.code() == ErrorCode::out_of_memory) {
            error.add(engine_.reading_plan(model_.config(), call.bank->lanes() * length));
        }
        throw;
    }
    Call* const before = std::exchange(asked_, &call);
    if (before != nullptr) {
        take_results(*before);
    }
    if (!call.done) {
        take_results();
    }
}

void Lanes::ask_for(Call& call, std::int64_t length) {
    ops::Context& context = engine_.context();
    engine_.reserve_for_reading(model_.config(), call.bank->lanes() * length, row_bytes_);
    call.device_scope.emplace(call.device);
    call.host_scope.emplace(call.host_memory);
    const StepMemory::Scope scope(context.step);
    const model::Chunk chunk = stage(call, length);
    call.take = ask_({chunk, *call.bank, call.slices, call.device, call.host_memory});
    const TensorView sum = call.device.take(DType::f64, {1});
    call.bank->ask_sum(context, sum);
    call.state_sum = ops::fetched(context, sum, call.host_memory);
    call.done = context.queue.fence();
}

model::Chunk Lanes::stage(Call& call, std::int64_t length) {
    ops::Context& context = engine_.context();
    StepMemory& host = call.host_memory;
    const std::int64_t lanes = call.bank->lanes();
    const bool shared = std::ssize(call.slices) > lanes;
    const TensorView ids = host.take(DType::u8, {lanes, length});
    const TensorView segment = host.take(DType::i32, {lanes, shared ? length : 0});
    const TensorView valid = host.take(DType::i64, {lanes});
    const auto id = ids.as<std::uint8_t, 2>();
    const auto segments = segment.as<std::int32_t, 2>();
    const auto ends = valid.as<std::int64_t, 1>();
    // Positions between two windows are a segment of their own that nobody asks for.
    std::fill_n(&id(0), ids.count(), std::uint8_t{0});
    std::fill_n(static_cast<std::int32_t*>(segment.data()), segment.count(), -1);
    for (const LaneSlice& slice : call.slices) {
        const auto [lane, at] = slice.place;
        const std::uint8_t* codes = slice.source->piece.codes.data() + slice.offset;
        std::transform(codes, codes + slice.count, &id(lane, at),
                       [](std::uint8_t code) { return static_cast<std::uint8_t>(code & kIdBits); });
        if (shared) {
            const auto number = static_cast<std::int32_t>(&slice - call.slices.data());
            std::fill_n(&segments(lane, at), slice.count, number);
        }
        ends(lane) = at + slice.count;
    }
    return {.ids = ops::on_device(context, ids),
            .valid = ops::on_device(context, valid),
            .segment = shared ? ops::on_device(context, segment) : ConstTensorView(),
            .check_states = false};
}

void Lanes::take_results() {
    if (asked_ != nullptr) {
        take_results(*asked_);
        asked_ = nullptr;
    }
}

void Lanes::take_results(Call& call) {
    if (call.done) {
        call.done->wait();
    }
    call.bank->require_finite(engine_.context(),
                              *static_cast<const double*>(call.state_sum.data()));
    call.take();
    call.take = nullptr;
    call.pieces.reset();
    call.host_scope.reset();
    call.device_scope.reset();
}

namespace {

constexpr std::int64_t kCalls = 2;  // whose results are held
/// Of the hidden states of a call, on the host.
constexpr std::int64_t kHiddenBytes = std::int64_t{256} << 20;

Lanes::Take ask_hidden(Engine& engine,
                       const model::Model& model,
                       std::int64_t layer,
                       const HiddenLanes::Sink& sink,
                       const LaneCall& call) {
    const ConstTensorView ids = call.chunk.ids;
    const TensorView hidden =
        call.device.take(DType::f32, {ids.extent(0), ids.extent(1), model.config().d_model});
    model::forward_hidden(engine.context(), model, call.chunk, call.bank, layer, hidden);
    const auto rows = ops::fetched(engine.context(), hidden, call.host).as<const float, 3>();
    return [&sink, rows, slices = call.slices] {
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
    };
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

Lanes::Take ask_losses(Engine& engine,
                       const model::Model& model,
                       const io::Tokenizer& tokenizer,
                       bool with_logits,
                       const LossLanes::Sink& sink,
                       const LaneCall& call) {
    const std::int64_t batch = call.chunk.ids.extent(0);
    const std::int64_t length = call.chunk.ids.extent(1);
    ops::Context& context = engine.context();
    const Targets targets(call.host, batch, length);
    fill_targets(call.slices, tokenizer, targets);
    const TensorView acgt = call.host.take(DType::u8, {4});
    const std::array<std::uint8_t, 4> bases = tokenizer.acgt();
    std::copy(bases.begin(), bases.end(), static_cast<std::uint8_t*>(acgt.data()));
    const TensorView loss = call.device.take(DType::f64, {batch, length});
    const TensorView best = call.device.take(DType::u8, {batch, length});
    const TensorView logits =
        with_logits ? call.device.take(DType::f32, {batch, length, model.config().vocab_size})
                    : TensorView();
    model::forward_losses(context, model, call.chunk, call.bank,
                          {.targets = ops::on_device(context, targets.ids),
                           .weight = ops::on_device(context, targets.weight),
                           .support = ops::on_device(context, acgt),
                           .loss = loss,
                           .best = best,
                           .logits = logits});
    const auto nats = ops::fetched(context, loss, call.host).as<const double, 2>();
    const auto likeliest = ops::fetched(context, best, call.host).as<const std::uint8_t, 2>();
    const auto scores = ops::fetched(context, logits, call.host).as<const float, 3>();
    return [&sink, targets, nats, likeliest, scores, slices = call.slices] {
        for (const LaneSlice& slice : slices) {
            const io::Interval scored = scored_part(slice);
            const std::int64_t lane = slice.place.lane;
            const std::int64_t at = slice.place.at + scored.begin;
            if (scored.size() > 0) {
                sink({*slice.source, slice.source->piece.begin + slice.offset + 1 + scored.begin,
                      scored.size(), &targets.codes.as<std::uint8_t, 2>()(lane, at),
                      &targets.weight.as<float, 2>()(lane, at), &nats(lane, at),
                      &likeliest(lane, at), scores ? &scores(lane, at) : nullptr});
            }
        }
    };
}

}  // namespace

CallSize HiddenLanes::within_host(const Engine& engine,
                                  const model::ModelConfig& config,
                                  CallSize size) {
    const std::int64_t rows = kHiddenBytes / (config.d_model * size_of(DType::f32));
    const std::int64_t most = engine.chunk(std::max<std::int64_t>(rows, 1));
    return {std::min(size.chunk, most), std::min(size.rows, most)};
}

std::int64_t HiddenLanes::result_bytes(const model::ModelConfig& config) {
    return kCalls * size_of(DType::f32) * config.d_model;
}

HiddenLanes::HiddenLanes(
    Engine& engine, const model::Model& model, CallSize size, std::int64_t layer, Sink sink)
    : lanes_(engine,
             model,
             within_host(engine, model.config(), size),
             [&engine, &model, layer, sink = std::move(sink)](const LaneCall& call) {
                 return ask_hidden(engine, model, layer, sink, call);
             }) {}

std::int64_t PooledLanes::result_bytes(const model::ModelConfig& config) {
    return size_of(DType::f32) * config.d_model;  // rows that are pooled in the same call
}

PooledLanes::PooledLanes(Engine& engine,
                         const model::Model& model,
                         const io::Tokenizer& tokenizer,
                         CallSize size,
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
      open_sum_(engine.queue().memory(), DType::f64, {1, 1, model.config().d_model}, "open row"),
      open_count_(engine.queue().memory(), DType::i64, {1, 1}, "open row's count"),
      lanes_(
          engine,
          model,
          size,
          [this](const LaneCall& call) { return ask(call); },
          result_bytes(model.config())) {}

void PooledLanes::flush() {
    lanes_.flush();
    if (!rows_.empty()) {
        ops::Context& context = engine_.context();
        const StepMemory::Scope scope(engine_.host());
        const auto sum = ops::on_host(context, open_sum_.view()).as<const double, 3>();
        const auto count = ops::on_host(context, open_count_.view()).as<const std::int64_t, 2>();
        if (count(0, 0) > 0) {
            sink_(rows_.back(), &sum(0, 0), count(0, 0));
        }
    }
    rows_.clear();
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

Lanes::Take PooledLanes::ask(const LaneCall& call) {
    ops::Context& context = engine_.context();
    DeviceQueue& queue = engine_.queue();
    const bool goes_on = !rows_.empty();
    const TensorView group = call.host.take(DType::i32, call.chunk.ids.shape());
    std::fill_n(static_cast<std::int32_t*>(group.data()), group.count(), -1);
    group_positions(call.slices, group.as<std::int32_t, 2>());
    const auto groups = static_cast<std::int64_t>(std::max<std::size_t>(rows_.size(), 1));
    const TensorView sum = call.device.take(DType::f64, {1, groups, model_.config().d_model});
    const TensorView count = call.device.take(DType::i64, {1, groups});
    const auto one = [](auto view, std::int64_t i) { return view.slice(1, i, i + 1); };
    zero(queue, sum);
    zero(queue, count);
    if (goes_on) {
        copy(queue, open_sum_.view(), one(sum, 0));
        copy(queue, open_count_.view(), one(count, 0));
    }
    model::forward_pooled(
        context, model_, call.chunk, call.bank, layer_,
        {.group = ops::on_device(context, group), .mode = mode_, .sum = sum, .count = count});
    copy(queue, one(sum, groups - 1), open_sum_.view());
    copy(queue, one(count, groups - 1), open_count_.view());
    const auto sums = ops::fetched(context, sum, call.host).as<const double, 3>();
    const auto counts = ops::fetched(context, count, call.host).as<const std::int64_t, 2>();
    std::vector<std::int64_t> done = rows_;
    if (!rows_.empty()) {
        done.pop_back();
        rows_ = {rows_.back()};
    }
    return [this, sums, counts, done = std::move(done)] {
        for (std::size_t i = 0; i < done.size(); ++i) {
            const auto row = static_cast<std::int64_t>(i);
            if (counts(0, row) > 0) {
                sink_(done[i], &sums(0, row), counts(0, row));
            }
        }
    };
}

std::int64_t LossLanes::result_bytes(const model::ModelConfig& config, bool with_logits) {
    return kCalls * (size_of(DType::f64) + size_of(DType::u8) +
                     (with_logits ? size_of(DType::f32) * config.vocab_size : 0));
}

LossLanes::LossLanes(Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     CallSize size,
                     Sink sink,
                     bool with_logits)
    : lanes_(
          engine,
          model,
          size,
          [&engine, &model, &tokenizer, with_logits, sink = std::move(sink)](const LaneCall& call) {
              return ask_losses(engine, model, tokenizer, with_logits, sink, call);
          }) {}

}  // namespace mambase::pipelines
