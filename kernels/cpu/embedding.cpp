#include "kernels/ops/embedding.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kRowBlock = 256;
constexpr std::int64_t kColumns = 32;      // of one task of the gradient
constexpr std::int64_t kMaxEntries = 256;  // ids are bytes

std::int64_t require_id(std::uint8_t id, std::int64_t entries, std::int64_t position) {
    MAMBASE_REQUIRE(id < entries, ErrorCode::shape,
                    concat("embedding: id ", id, " at position ", position, ", the table has ",
                           entries, " rows"));
    return id;
}

/// dtable[:,columns) += the sum over one tile, by way of an f32 table of its own. Entries that the
/// tile does not meet are left alone.
void add_tile(const View<const std::uint8_t, 2>& ids,
              const View<const float, 3>& dy,
              const View<double, 2>& dtable,
              std::int64_t lane,
              std::int64_t row,
              std::int64_t column) {
    float sums[kMaxEntries][kColumns];
    std::array<bool, kMaxEntries> met{};
    const std::int64_t columns = std::min(kColumns, dtable.extent[1] - column);
    const std::int64_t end = std::min(row + kGradientTile, ids.extent[1]);
    for (; row < end; ++row) {
        const std::int64_t id = require_id(ids(lane, row), dtable.extent[0], row);
        const float* const from = &dy(lane, row, column);
        if (!met[static_cast<std::size_t>(id)]) {
            met[static_cast<std::size_t>(id)] = true;
            std::copy_n(from, columns, sums[id]);
            continue;
        }
        for (std::int64_t i = 0; i < columns; ++i) {
            sums[id][i] += from[i];
        }
    }
    for (std::int64_t id = 0; id < dtable.extent[0] && id < kMaxEntries; ++id) {
        if (met[static_cast<std::size_t>(id)]) {
            for (std::int64_t i = 0; i < columns; ++i) {
                dtable(id, column + i) += static_cast<double>(sums[id][i]);
            }
        }
    }
}

}  // namespace

void embedding_forward(ops::Context& context, const ops::Embedding& op) {
    const auto ids = op.ids.as<const std::uint8_t, 2>();
    const auto table = op.table.as<const float, 2>();
    const auto y = op.y.as<float, 3>();
    const std::int64_t length = ids.extent[1];
    const std::int64_t blocks = ceil_div(length, kRowBlock);
    context.pool.parallel_for(ids.extent[0] * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t first = task % blocks * kRowBlock;
        for (std::int64_t row = first; row < std::min(first + kRowBlock, length); ++row) {
            const std::int64_t id = require_id(ids(lane, row), table.extent[0], row);
            std::copy_n(&table(id), table.extent[1], &y(lane, row));
        }
    });
}

void embedding_backward(ops::Context& context, const ops::EmbeddingGrad& op) {
    const auto ids = op.ids.as<const std::uint8_t, 2>();
    const auto dy = op.dy.as<const float, 3>();
    const auto dtable = op.dtable.as<double, 2>();
    const std::int64_t tiles = ceil_div(ids.extent[1], kGradientTile);
    context.pool.parallel_for(ceil_div(dtable.extent[1], kColumns), [&](std::int64_t task) {
        for (std::int64_t tile = tiles - 1; tile >= 0; --tile) {
            for (std::int64_t lane = 0; lane < ids.extent[0]; ++lane) {
                add_tile(ids, dy, dtable, lane, tile * kGradientTile, task * kColumns);
            }
        }
    });
}

}  // namespace mambase::cpu
