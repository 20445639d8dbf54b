#include "kernels/ops/linear.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"
#include "kernels/cpu/simd/gemm_kernels.hpp"
#include "kernels/cpu/task_scratch.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cpu {

namespace {

// Rows of a task: eight strips, few enough that a chunk of 64 rows still occupies two threads.
constexpr std::int64_t kRowBlock = 48;
// Up to so many rows, tasks are cut by columns.
constexpr std::int64_t kFewRows = 128;
// Rows and columns of a task of dweight. Its strips and panels of one tile stay in the second-level
// cache, and x_proj's gradient, the smallest, still makes eight tasks.
constexpr std::int64_t kResultRows = 24;
constexpr std::int64_t kResultColumns = 64;
// Tiles that are packed at a time: bounds the scratch, and makes two rounds of tasks out of them.
constexpr std::int64_t kTileGroup = 8;

/// The rows of a [B,T,·] view as lanes of equally spaced rows; one lane where they all are.
struct Rows {
    std::int64_t lanes, rows;
};

template <class A, class B>
Rows rows_of(const View<A, 3>& a, const View<B, 3>& b) {
    const auto even = [](const auto& view) {
        return view.stride[0] == view.extent[1] * view.stride[1];
    };
    const std::int64_t lanes = a.extent[0];
    const std::int64_t rows = a.extent[1];
    return lanes == 1 || (even(a) && even(b)) ? Rows{1, lanes * rows} : Rows{lanes, rows};
}

/// y = x·B (+ bias), or y += x·B, by blocks of rows.
void multiply_rows(ops::Context& context,
                   const GemmKernels& kernels,
                   const View<const float, 3>& x,
                   const float* panels,
                   const float* bias,
                   bool add,
                   const View<float, 3>& y) {
    const Rows all = rows_of(x, y);
    const std::int64_t blocks = ceil_div(all.rows, kRowBlock);
    context.pool.parallel_for(all.lanes * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t row = task % blocks * kRowBlock;
        RowProduct product{};
        product.rows = std::min(kRowBlock, all.rows - row);
        product.columns = y.extent[2];
        product.depth = x.extent[2];
        product.a = x.data + lane * x.stride[0] + row * x.stride[1];
        product.a_stride = x.stride[1];
        product.panels = panels;
        product.bias = bias;
        product.add = add;
        product.y = y.data + lane * y.stride[0] + row * y.stride[1];
        product.y_stride = y.stride[1];
        kernels.row_product(product);
    });
}

/// Packs a weight by groups of panels. `transposed`: the right factor is weightᵀ.
const float* pack_weight(ops::Context& context,
                         const GemmKernels& kernels,
                         const View<const float, 2>& weight,
                         bool transposed) {
    const std::int64_t depth = weight.extent[transposed ? 1 : 0];
    const std::int64_t columns = weight.extent[transposed ? 0 : 1];
    float* const panels = take_floats(context, depth * round_up(columns, kernels.panel_width));
    const std::int64_t task_columns = 4 * kernels.panel_width;
    context.pool.parallel_for(ceil_div(columns, task_columns), [&](std::int64_t task) {
        const std::int64_t column = task * task_columns;
        const std::int64_t count = std::min(task_columns, columns - column);
        float* const to = panels + column * depth;
        if (transposed) {
            kernels.pack_transposed_panels(&weight(column), weight.stride[0], depth, count, to);
        } else {
            kernels.pack_panels(&weight(0, column), weight.stride[0], depth, count, to);
        }
    });
    return panels;
}

/// y = x·weightᵀ (+ bias) of few rows, by panels of the weight: each is packed where it is used, so
/// that a step of one position neither writes the whole weight anew nor waits for that.
void multiply_panels(ops::Context& context, const GemmKernels& kernels, const ops::Linear& op) {
    const auto x = op.x.as<const float, 3>();
    const auto weight = op.weight.as<const float, 2>();
    const auto bias = op.bias.as<const float, 1>();
    const auto y = op.y.as<float, 3>();
    const Rows all = rows_of(x, y);
    const std::int64_t panels = ceil_div(weight.extent[0], kernels.panel_width);
    TaskScratch scratch(context, panels, weight.extent[1] * kernels.panel_width);
    context.pool.parallel_for(panels, [&](std::int64_t panel) {
        const TaskScratch::Claim claim(scratch);
        const std::int64_t column = panel * kernels.panel_width;
        RowProduct product{};
        product.rows = all.rows;
        product.columns = std::min(kernels.panel_width, weight.extent[0] - column);
        product.depth = weight.extent[1];
        product.a_stride = x.stride[1];
        product.panels = claim.data();
        product.bias = bias ? &bias(column) : nullptr;
        product.y_stride = y.stride[1];
        kernels.pack_transposed_panels(&weight(column), weight.stride[0], product.depth,
                                       product.columns, claim.data());
        for (std::int64_t lane = 0; lane < all.lanes; ++lane) {
            product.a = x.data + lane * x.stride[0];
            product.y = y.data + lane * y.stride[0] + column;
            kernels.row_product(product);
        }
    });
}

/// dweight and dbias: the tiles are numbered in the order in which they are added, packed group by
/// group, and each task then adds the whole group to its part of the result.
class WeightGradient {
  public:
    WeightGradient(ops::Context& context, const GemmKernels& kernels, const ops::LinearGrad& op)
        : kernels_(kernels),
          x_(op.x.as<const float, 3>()),
          dy_(op.dy.as<const float, 3>()),
          dweight_(op.dweight.as<double, 2>()),
          dbias_(op.dbias.as<double, 1>()),
          tiles_per_lane_(ceil_div(x_.extent[1], kGradientTile)),
          strips_size_(tile_rows() * round_up(dy_.extent[2], kernels.strip_width)),
          panels_size_(tile_rows() * round_up(x_.extent[2], kernels.panel_width)),
          strips_(take_floats(context, kTileGroup * strips_size_)),
          panels_(take_floats(context, kTileGroup * panels_size_)),
          column_sums_(take_floats(context, kTileGroup * dy_.extent[2])) {}

    void run(ThreadPool& pool) {
        const std::int64_t tiles = tiles_per_lane_ * x_.extent[0];
        const std::int64_t row_parts = ceil_div(dy_.extent[2], kResultRows);
        const std::int64_t column_parts = ceil_div(x_.extent[2], kResultColumns);
        for (std::int64_t first = 0; first < tiles; first += kTileGroup) {
            const std::int64_t count = std::min(kTileGroup, tiles - first);
            pool.parallel_for(count, [&](std::int64_t slot) { pack_tile(first + slot, slot); });
            pool.parallel_for(row_parts * column_parts, [&](std::int64_t task) {
                add_products(first, count, task / column_parts * kResultRows,
                             task % column_parts * kResultColumns);
            });
            add_biases(count);
        }
    }

  private:
    struct Tile {
        std::int64_t lane, row, rows;
    };

    std::int64_t tile_rows() const { return std::min(kGradientTile, x_.extent[1]); }

    /// The `number`-th tile to be added: by descending position, then ascending lane.
    Tile tile(std::int64_t number) const {
        const std::int64_t lanes = x_.extent[0];
        const std::int64_t row = (tiles_per_lane_ - 1 - number / lanes) * kGradientTile;
        return {number % lanes, row, std::min(kGradientTile, x_.extent[1] - row)};
    }

    void pack_tile(std::int64_t number, std::int64_t slot) {
        const Tile at = tile(number);
        const float* const dy = &dy_(at.lane, at.row);
        kernels_.pack_strips(dy, dy_.stride[1], at.rows, dy_.extent[2],
                             strips_ + slot * strips_size_);
        kernels_.pack_panels(&x_(at.lane, at.row), x_.stride[1], at.rows, x_.extent[2],
                             panels_ + slot * panels_size_);
        if (dbias_) {
            kernels_.column_sums(dy, dy_.stride[1], at.rows, dy_.extent[2],
                                 column_sums_ + slot * dy_.extent[2]);
        }
    }

    void add_products(std::int64_t first,
                      std::int64_t count,
                      std::int64_t row,
                      std::int64_t column) {
        for (std::int64_t slot = 0; slot < count; ++slot) {
            const std::int64_t depth = tile(first + slot).rows;
            TileProduct product{};
            product.rows = std::min(kResultRows, dweight_.extent[0] - row);
            product.columns = std::min(kResultColumns, dweight_.extent[1] - column);
            product.depth = depth;
            product.strips = strips_ + slot * strips_size_ + row * depth;
            product.panels = panels_ + slot * panels_size_ + column * depth;
            product.sum = &dweight_(row, column);
            product.sum_stride = dweight_.stride[0];
            kernels_.tile_product(product);
        }
    }

    void add_biases(std::int64_t count) {
        if (!dbias_) {
            return;
        }
        for (std::int64_t slot = 0; slot < count; ++slot) {
            for (std::int64_t o = 0; o < dbias_.extent[0]; ++o) {
                dbias_(o) += static_cast<double>(column_sums_[slot * dbias_.extent[0] + o]);
            }
        }
    }

    const GemmKernels& kernels_;
    View<const float, 3> x_;
    View<const float, 3> dy_;
    View<double, 2> dweight_;
    View<double, 1> dbias_;
    std::int64_t tiles_per_lane_;
    std::int64_t strips_size_;
    std::int64_t panels_size_;
    float* strips_;
    float* panels_;
    float* column_sums_;
};

}  // namespace

/// Both operands of a group of tiles, packed.
std::int64_t linear_backward_scratch_bytes(std::int64_t /*batch*/,
                                           std::int64_t length,
                                           std::int64_t inputs,
                                           std::int64_t outputs) {
    return kTileGroup * std::min(kGradientTile, length) * (inputs + outputs) * size_of(DType::f32);
}

template <SimdLevel L>
void linear_forward(ops::Context& context, const ops::Linear& op) {
    const StepMemory::Scope scope(context.step);
    const GemmKernels& kernels = gemm_kernels<L>();
    if (op.x.extent(0) * op.x.extent(1) <= kFewRows) {
        multiply_panels(context, kernels, op);
        return;
    }
    const float* const panels = pack_weight(context, kernels, op.weight.as<const float, 2>(), true);
    multiply_rows(context, kernels, op.x.as<const float, 3>(), panels,
                  op.bias.as<const float, 1>().data, false, op.y.as<float, 3>());
}

template <SimdLevel L>
void linear_backward(ops::Context& context, const ops::LinearGrad& op) {
    const StepMemory::Scope scope(context.step);
    const GemmKernels& kernels = gemm_kernels<L>();
    WeightGradient(context, kernels, op).run(context.pool);
    if (op.dx) {
        const float* const panels =
            pack_weight(context, kernels, op.weight.as<const float, 2>(), false);
        multiply_rows(context, kernels, op.dy.as<const float, 3>(), panels, nullptr, op.add_to_dx,
                      op.dx.as<float, 3>());
    }
}

template void linear_forward<SimdLevel::scalar>(ops::Context&, const ops::Linear&);
template void linear_forward<SimdLevel::avx2>(ops::Context&, const ops::Linear&);
template void linear_forward<SimdLevel::avx512>(ops::Context&, const ops::Linear&);
template void linear_backward<SimdLevel::scalar>(ops::Context&, const ops::LinearGrad&);
template void linear_backward<SimdLevel::avx2>(ops::Context&, const ops::LinearGrad&);
template void linear_backward<SimdLevel::avx512>(ops::Context&, const ops::LinearGrad&);

}  // namespace mambase::cpu
