// What a run will hold in memory, before anything is allocated.
#pragma once

#include "kernels/ops/op_table.hpp"
#include "kernels/tensor/dtype.hpp"
#include "model/config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::model {

enum class RunMode : std::uint8_t { train, forward };

struct MemoryPlan {
    struct Item {
        std::string what;
        std::int64_t bytes;
    };
    std::vector<Item> items;      // largest first
    std::int64_t step_bytes = 0;  // of the items: what StepMemory will reach
    std::int64_t total = 0;

    /// What the caller holds beside.
    void add(Item item);
    /// One line an item, and the total.
    std::string text() const;
};

/// B lanes of windows of T positions (train: the whole window) at `chunk` positions at once.
MemoryPlan plan(const ops::OpTable& table,
                const ModelConfig& config,
                std::int64_t lanes,
                std::int64_t length,
                std::int64_t chunk,
                RunMode mode,
                DType activations = DType::f32);

/// The longest chunk of whole gradient tiles (at most `length`) whose plan is within `limit` bytes;
/// 0 where none is.
std::int64_t largest_chunk(const ops::OpTable& table,
                           const ModelConfig& config,
                           std::int64_t lanes,
                           std::int64_t length,
                           std::int64_t limit,
                           RunMode mode,
                           DType activations = DType::f32);

}  // namespace mambase::model
