// Windows through a model: short ones packed one after the other into the lanes of one call, told
// apart by segment ids, long ones alone and chunk by chunk with the state carried.
//
// Each window is read from a reset state, and what comes out does not depend on what else was in
// the call nor on the chunk. On a device one call's results are taken while the next one is
// computed.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "kernels/tensor/view.hpp"
#include "model/forward.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"
#include "pipelines/engine.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace mambase::pipelines {

/// A piece of a window on its way through the model. `tag` is the caller's, and comes back
/// untouched.
struct TaggedPiece {
    std::int64_t tag = 0;
    io::WindowPiece piece;
};

/// Positions at, at + 1, … of a lane.
struct LanePlace {
    std::int64_t lane = 0;
    std::int64_t at = 0;
};

/// The stretch of one piece that a call of the model computes, and where in the call.
struct LaneSlice {
    const TaggedPiece* source = nullptr;
    std::int64_t offset = 0;  // into the piece's codes
    std::int64_t count = 0;
    LanePlace place;
};

/// Windows in a call: one after the other in a lane while they fit, then in the next lane. A lane
/// takes `tile` positions, or the longest window; a window that is longer than a tile starts on a
/// tile's border, a shorter one lies inside a tile (ops::OpTable::run_tile).
class LanePacking {
  public:
    explicit LanePacking(std::int64_t tile) : tile_(tile) {}

    /// Puts a window behind those before it.
    LanePlace add(std::int64_t window);

    std::int64_t lanes() const { return lanes_; }
    std::int64_t length() const { return length_; }  // of the fullest lane
    std::int64_t rows() const { return lanes_ * length_; }
    /// Whether less than half of the rows are of windows.
    bool is_wasteful() const { return rows() > 2 * codes_; }

  private:
    std::int64_t tile_;
    std::int64_t longest_ = 0;  // window
    std::int64_t codes_ = 0;    // of all windows
    std::int64_t lanes_ = 0;
    std::int64_t length_ = 0;
    std::int64_t end_ = 0;  // of the last window in its lane
};

/// What a call of the model asks for, and where its results go.
struct LaneCall {
    const model::Chunk& chunk;  // the ids of the slices, on the engine's device
    model::StateBank& bank;     // of its lanes
    std::span<const LaneSlice> slices;
    // Memory that lasts until the results have been taken, beside the engine's, which lasts until
    // the call has been asked for. On the CPU the two are one.
    StepMemory& device;
    StepMemory& host;
};

/// Packs pieces into calls. Calls take slices in the order in which the pieces were added.
class Lanes {
  public:
    /// What is left to do with a call once its results are there; the slices are there as well.
    using Take = std::function<void()>;
    /// Asks for one call (ops::fetched for what it is to give), without waiting.
    using Ask = std::function<Take(const LaneCall& call)>;

    /// `row_bytes`: that a call takes of the engine's memory a position, beside the forward pass.
    Lanes(Engine& engine,
          const model::Model& model,
          CallSize size,
          Ask ask,
          std::int64_t row_bytes = 0);
    Lanes(const Lanes&) = delete;
    Lanes& operator=(const Lanes&) = delete;
    ~Lanes();

    /// Pieces of one window have to come one after the other. Asks for a call when it is full, and
    /// takes the results of the one before. Throws Error{format} where a state is no longer finite.
    void add(TaggedPiece piece);
    /// Computes what is pending and takes all results.
    void flush();

  private:
    using Pieces = std::vector<TaggedPiece>;

    /// A call that has been asked for, and its memory.
    struct Call {
        explicit Call(Engine& engine);

        StepMemory device_memory;  // on the CPU all is in the host's
        StepMemory host_memory;
        StepMemory& device;
        std::optional<StepMemory::Scope> device_scope;
        std::optional<StepMemory::Scope> host_scope;
        std::optional<model::StateBank> lanes;  // of windows side by side
        std::shared_ptr<const Pieces> pieces;
        std::vector<LaneSlice> slices;
        model::StateBank* bank = nullptr;
        ConstTensorView state_sum;
        Take take;
        std::unique_ptr<DeviceQueue::Fence> done;
    };

    void run_pending();
    void run_alone(TaggedPiece piece);
    /// `call` has its pieces, slices and bank. Then takes the results of the call before.
    void ask(Call& call, std::int64_t length);
    void ask_for(Call& call, std::int64_t length);
    model::Chunk stage(Call& call, std::int64_t length);
    Call& free_call();
    void take_results();
    void take_results(Call& call);

    Engine& engine_;
    const model::Model& model_;
    CallSize size_;
    Ask ask_;
    std::int64_t row_bytes_;
    Pieces pending_;
    std::vector<LanePlace> places_;  // of what is pending
    LanePacking packing_;
    std::optional<model::StateBank> carried_;  // of the window that comes in pieces
    std::array<Call, 2> calls_;
    Call* asked_ = nullptr;  // whose results have not been taken
};

/// Rows of the residual stream at consecutive positions that count.
struct HiddenRows {
    const TaggedPiece& source;
    std::int64_t begin = 0;  // strand coordinate of the first row
    std::int64_t count = 0;
    const float* rows = nullptr;          // [count, D]
    const std::uint8_t* codes = nullptr;  // [count]
};

/// Hidden states of the positions in each piece's score range, in order.
class HiddenLanes {
  public:
    using Sink = std::function<void(const HiddenRows&)>;
    /// `size`, cut to the rows that a host has room for.
    static CallSize within_host(const Engine& engine,
                                const model::ModelConfig& config,
                                CallSize size);

    /// Of the device, a position.
    static std::int64_t result_bytes(const model::ModelConfig& config);

    /// `layer` as in model::forward_hidden. Calls are as within_host() has them.
    HiddenLanes(
        Engine& engine, const model::Model& model, CallSize size, std::int64_t layer, Sink sink);
    void add(TaggedPiece piece) { lanes_.add(std::move(piece)); }
    void flush() { lanes_.flush(); }

  private:
    Lanes lanes_;
};

/// The row of an output that a stretch of positions adds to.
struct PooledStretch {
    std::int64_t row = 0;
    std::int64_t end = 0;  // strand coordinate
};

/// The same pooled where they are computed: sums in double precision by row, position by position.
class PooledLanes {
  public:
    /// Where positions.begin belongs, and how far on; never past positions.end. Asked in the order
    /// of reading, before the call is computed; a row's positions come one after the other.
    using RowOf = std::function<PooledStretch(const TaggedPiece&, io::Interval positions)>;
    /// sum[D] is of `count` > 0 rows that are A, C, G or T; for a maximum or the last it is that.
    using Sink = std::function<void(std::int64_t row, const double* sum, std::int64_t count)>;

    /// Of the device, a position.
    static std::int64_t result_bytes(const model::ModelConfig& config);

    PooledLanes(Engine& engine,
                const model::Model& model,
                const io::Tokenizer& tokenizer,
                CallSize size,
                std::int64_t layer,
                ops::PoolMode mode,
                RowOf row_of,
                Sink sink);
    void add(TaggedPiece piece) { lanes_.add(std::move(piece)); }
    /// Also hands on the row that is open.
    void flush();

  private:
    Lanes::Take ask(const LaneCall& call);
    void group_positions(std::span<const LaneSlice> slices, const View<std::int32_t, 2>& group);

    Engine& engine_;
    const model::Model& model_;
    const io::Tokenizer& tokenizer_;
    std::int64_t layer_;
    ops::PoolMode mode_;
    RowOf row_of_;
    Sink sink_;
    // Of a call's groups while it is asked for; afterwards the last of them, which may go on in the
    // next call. What it has come to is on the device.
    std::vector<std::int64_t> rows_;
    Tensor open_sum_;    // [1,1,D] f64
    Tensor open_count_;  // [1,1] i64
    Lanes lanes_;
};

/// Losses of consecutive bases. base begin + i has code codes[i] (soft-mask bit included).
struct LossRows {
    const TaggedPiece& source;
    std::int64_t begin = 0;  // strand coordinate of the first base
    std::int64_t count = 0;
    const std::uint8_t* codes = nullptr;  // [count]
    const float* scored = nullptr;        // [count] 1 where the base counts, else 0
    const double* nats = nullptr;         // [count] −log p over A, C, G, T; 0 where not scored
    const std::uint8_t* best = nullptr;   // [count] the likeliest id of the four; where scored
    const float* logits = nullptr;        // [count, V] where they are asked for
};

/// Losses of the bases in each piece's score range, in order. Not scored: what is not A, C, G or T,
/// and a window's first base, which nothing predicts.
class LossLanes {
  public:
    using Sink = std::function<void(const LossRows&)>;
    /// Of the device, a position.
    static std::int64_t result_bytes(const model::ModelConfig& config, bool with_logits);

    LossLanes(Engine& engine,
              const model::Model& model,
              const io::Tokenizer& tokenizer,
              CallSize size,
              Sink sink,
              bool with_logits = false);
    void add(TaggedPiece piece) { lanes_.add(std::move(piece)); }
    void flush() { lanes_.flush(); }

  private:
    Lanes lanes_;
};

}  // namespace mambase::pipelines
