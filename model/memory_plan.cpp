#include "model/memory_plan.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/selective_scan.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/backbone_pass.hpp"
#include "model/param_table.hpp"
#include "model/state_bank.hpp"

#include <algorithm>
#include <utility>

namespace mambase::model {

namespace {

constexpr std::int64_t kFloat = size_of(DType::f32);
constexpr std::int64_t kDouble = size_of(DType::f64);

/// Step memory that a plan falls short of asks for an eighth more, so that trifles count: what is
/// taken is rounded up, some 16 times a layer.
std::int64_t rounding(const ModelConfig& config) {
    return StepMemory::kRounding * 16 * (config.n_layer + 2);
}

/// Bytes of step memory, by what they are for.
struct StepBytes {
    std::int64_t batch = 0;        // what a training step reads
    std::int64_t starts = 0;       // states at the starts of chunks
    std::int64_t activations = 0;  // of one chunk
    std::int64_t scratch = 0;      // of one layer at a time

    std::int64_t total() const { return batch + starts + activations + scratch; }
};

/// Numbers a position that a block holds: normed, xz, u, x_dbl, dt_raw, gated.
std::int64_t block_width(const ModelConfig& config) {
    return config.d_model + 5 * config.d_inner + config.dt_rank + 2 * config.d_state;
}

/// Most that is taken at once beside a block's values when only the results are kept: what the
/// first block makes of each token and weights as the activations are, or the states where tiles of
/// the scan meet, of at least 1,024 positions.
std::int64_t forward_scratch(const ModelConfig& config,
                             std::int64_t lanes,
                             std::int64_t length,
                             std::int64_t number) {
    constexpr std::int64_t kTile = 1024;
    const std::int64_t tiles = length > kTile ? checked_mul(lanes, ceil_div(length, kTile)) : 0;
    const std::int64_t weights = number < kFloat ? number * 2 * config.d_inner * config.d_model : 0;
    const std::int64_t tokens = number * config.vocab_size * (config.d_model + 2 * config.d_inner);
    return std::max(tokens + weights,
                    checked_mul(tiles, kFloat * config.d_inner * (config.d_state + 1)));
}

StepBytes forward_bytes(const ModelConfig& config,
                        std::int64_t lanes,
                        std::int64_t length,
                        std::int64_t number) {
    const std::int64_t rows = checked_mul(lanes, length);
    StepBytes out;
    // the stream and the logits in f32; beside them what a block adds, the last norm's result, and
    // one block
    out.activations = checked_mul(
        rows, kFloat * (config.d_model + config.vocab_size) + number * 2 * config.d_model);
    out.scratch = checked_mul(rows, number * block_width(config)) +
                  forward_scratch(config, lanes, length, number) + rounding(config);
    return out;
}

/// Most that a layer's backward takes at once beside the values that the forward has kept.
std::int64_t layer_scratch(const ops::OpTable& table,
                           const ModelConfig& config,
                           std::int64_t lanes,
                           std::int64_t length,
                           std::int64_t number) {
    const std::int64_t rows = checked_mul(lanes, length);
    const std::int64_t d = config.d_model;
    const std::int64_t e = config.d_inner;
    // gradients of gated, xz, u, dt_raw, x_dbl; then those of normed and the product of in_proj, or
    // before them the scan, whichever is more
    const std::int64_t gradients =
        checked_mul(rows, number * (5 * e + config.dt_rank + 2 * config.d_state));
    const std::int64_t product = checked_mul(rows, number * d) +
                                 table.linear_backward_scratch_bytes(lanes, length, d, 2 * e);
    const std::int64_t scan =
        table.selective_scan_backward_scratch_bytes(lanes, length, e, config.d_state);
    return gradients + std::max(product, scan);
}

StepBytes step_bytes(const ops::OpTable& table,
                     const ModelConfig& config,
                     std::int64_t lanes,
                     std::int64_t length,
                     std::int64_t chunk,
                     RunMode mode,
                     DType activations) {
    const std::int64_t number = size_of(activations);
    const std::int64_t at_once = std::min(chunk, length);
    const std::int64_t rows = checked_mul(lanes, at_once);
    const std::int64_t d = config.d_model;
    if (mode == RunMode::forward) {
        return forward_bytes(config, lanes, at_once, number);
    }
    StepBytes out;
    out.batch = checked_mul(checked_mul(lanes, length), 2 + kFloat);
    // a layer: its block, residual, rstd and what the scan keeps
    const std::int64_t layer =
        checked_mul(rows, number * block_width(config) + kFloat * (d + 1)) +
        ops::selective_scan_saved_bytes(table, lanes, at_once, config.d_inner, config.d_state);
    // once: the last norm's residual and rstd, logits and the stream's gradient in f32; what the
    // last block adds, the last norm's result and its gradient; where activations are rounded, the
    // rounded stream's gradient and the logits'
    const bool rounds = activations != DType::f32;
    const std::int64_t once = kFloat * (2 * d + 1 + config.vocab_size) + number * 3 * d +
                              (rounds ? number * (d + config.vocab_size) : 0);
    out.activations = checked_mul(config.n_layer, layer) + checked_mul(rows, once);
    // and the sums of losses
    out.scratch =
        layer_scratch(table, config, lanes, at_once, number) + kDouble * lanes + rounding(config);
    const std::int64_t states = StateLayout(config, lanes).count() * kFloat;
    out.starts = checked_mul(ceil_div(length, chunk) + 1, states);
    const std::int64_t with_starts = chunks_with_scan_starts(table, config, lanes, length, at_once);
    out.starts += checked_mul(
        checked_mul(with_starts, config.n_layer),
        ops::selective_scan_starts_bytes(table, lanes, at_once, config.d_inner, config.d_state));
    return out;
}

/// What does not depend on the chunk.
std::vector<MemoryPlan::Item> standing_items(const ModelConfig& config,
                                             std::int64_t lanes,
                                             std::int64_t length,
                                             RunMode mode) {
    const std::int64_t values = ParamTable(config).count();
    std::vector<MemoryPlan::Item> items;
    items.push_back({"weights", checked_mul(values, kFloat)});
    items.push_back({"states", checked_mul(StateLayout(config, lanes).count(), kFloat)});
    if (mode == RunMode::train) {
        const std::int64_t head = config.tie_embeddings ? config.vocab_size * config.d_model : 0;
        items.push_back({"gradients, in double precision", checked_mul(values + head, kDouble)});
        items.push_back({"moments of AdamW", checked_mul(values, 2 * kFloat)});
    } else {
        items.push_back({"ids", checked_mul(lanes, length)});
    }
    return items;
}

std::int64_t sum(const std::vector<MemoryPlan::Item>& items) {
    std::int64_t total = 0;
    for (const MemoryPlan::Item& item : items) {
        total = checked_add(total, item.bytes);
    }
    return total;
}

void sort(std::vector<MemoryPlan::Item>& items) {
    std::stable_sort(
        items.begin(), items.end(),
        [](const MemoryPlan::Item& a, const MemoryPlan::Item& b) { return a.bytes > b.bytes; });
}

void require_sizes(std::int64_t lanes, std::int64_t length, std::int64_t chunk) {
    MAMBASE_REQUIRE(
        lanes >= 1 && length >= 1 && chunk >= 1, ErrorCode::usage,
        concat("no plan for ", lanes, " lanes of ", length, " positions in chunks of ", chunk));
}

}  // namespace

void MemoryPlan::add(Item item) {
    total = checked_add(total, item.bytes);
    items.push_back(std::move(item));
    sort(items);
}

std::string MemoryPlan::text() const {
    std::string out;
    for (const Item& item : items) {
        out += concat(format_bytes(item.bytes), "  ", item.what, "\n");
    }
    out += concat(format_bytes(total), "  in all\n");
    return out;
}

MemoryPlan plan(const ops::OpTable& table,
                const ModelConfig& config,
                std::int64_t lanes,
                std::int64_t length,
                std::int64_t chunk,
                RunMode mode,
                DType activations) {
    require_sizes(lanes, length, chunk);
    const StepBytes step = step_bytes(table, config, lanes, length,
                                      whole_tiles(table, chunk, length), mode, activations);
    MemoryPlan out;
    out.items = standing_items(config, lanes, length, mode);
    out.items.push_back({"activations of a chunk", step.activations});
    out.items.push_back({"scratch of a layer", step.scratch});
    if (mode == RunMode::train) {
        out.items.push_back({"states at the starts of chunks", step.starts});
        out.items.push_back({"ids, targets and weights", step.batch});
    }
    sort(out.items);
    out.step_bytes = step.total();
    out.total = sum(out.items);
    return out;
}

std::int64_t largest_chunk(const ops::OpTable& table,
                           const ModelConfig& config,
                           std::int64_t lanes,
                           std::int64_t length,
                           std::int64_t limit,
                           RunMode mode,
                           DType activations) {
    require_sizes(lanes, length, 1);
    const std::int64_t standing = sum(standing_items(config, lanes, length, mode));
    // Shorter chunks have more starts, so what fits need not be all below one length: try each.
    for (std::int64_t tiles = ceil_div(length, table.gradient_tile); tiles >= 1; --tiles) {
        const std::int64_t chunk = std::min(tiles * table.gradient_tile, length);
        if (standing + step_bytes(table, config, lanes, length, chunk, mode, activations).total() <=
            limit) {
            return chunk;
        }
    }
    return 0;
}

}  // namespace mambase::model
