#include "kernels/ops/linear.hpp"

#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/linear_kernels.hpp"
#include "kernels/cuda/products.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cuda {

namespace {

// What algorithms are chosen for: many rows, and many tiles at once.
constexpr std::int64_t kPlannedRows = 65536;
constexpr std::int64_t kPlannedTiles = 64;
// Elements that one product walks over at most, so that no index inside it passes 31 bits.
constexpr std::int64_t kMostElements = std::int64_t{1} << 31;
// Partial sums held at a time: what stays in the second-level cache until it is added.
constexpr std::int64_t kPartialBytes = std::int64_t{32} << 20;
// Rows that are brought together at a time.
constexpr std::int64_t kPackedBytes = std::int64_t{128} << 20;
constexpr std::int64_t kMostPartials = 4096;
constexpr std::int64_t kMostAlignment = 16;

/// The rows of a [B,T,·] view. Strides are in elements.
struct Rows {
    char* data;
    DType dtype;
    std::int64_t lanes, length, width;
    std::int64_t lane_stride, row_stride;
    int alignment;

    char* at(std::int64_t lane, std::int64_t row) const {
        return data + (lane * lane_stride + row * row_stride) * size_of(dtype);
    }
    bool even() const { return lanes == 1 || lane_stride == length * row_stride; }
};

/// The same for every part of a view, as every row counts.
int alignment_of(const void* data, std::int64_t row_bytes, std::int64_t lane_bytes) {
    const auto bits = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data)) |
                      row_bytes | lane_bytes | kMostAlignment;
    return static_cast<int>(bits & -bits);
}

Rows rows_of(const ConstTensorView& view) {
    Rows rows{};
    rows.data = static_cast<char*>(const_cast<void*>(view.data()));
    rows.dtype = view.dtype();
    rows.lanes = view.extent(0);
    rows.length = view.extent(1);
    rows.width = view.extent(2);
    rows.lane_stride = rows.lanes > 1 ? view.stride(0) : 0;
    const bool single = rows.length == 1 && rows.lanes > 1;
    rows.row_stride = single ? view.stride(0) : view.stride(1);
    const std::int64_t size = size_of(rows.dtype);
    // The width counts too: vectors read on to where a row ends by its alignment, and past the last
    // row there may be nothing.
    rows.alignment =
        alignment_of(rows.data, (view.stride(1) | rows.width) * size, rows.lane_stride * size);
    return rows;
}

/// weight [O,I] as products with rows of `type` take it.
Factor weight_of(ops::Context& context,
                 const ConstTensorView& weight,
                 DType type,
                 bool transposed) {
    const std::int64_t columns = weight.extent(1);
    if (type == DType::f32) {
        return {weight.data(), columns, 0, alignment_of(weight.data(), columns * 4, 0), transposed};
    }
    RoundWeight round{};
    round.from = static_cast<const float*>(weight.data());
    round.rows = weight.extent(0);
    round.columns = columns;
    round.stride = round_up(columns, kMostAlignment / size_of(type));
    round.to = context.step.take(type, {round.rows, round.stride}).data();
    launch_linear_round_weight(round, stream_of(context));
    return {round.to, round.stride, 0, kMostAlignment, transposed};
}

/// bias [O] as products with a result of `type` take it, or null.
const void* bias_of(ops::Context& context, const ConstTensorView& bias, DType type) {
    if (!bias) {
        return nullptr;
    }
    if (type == DType::bf16) {
        const ConstTensorView row(bias.data(), DType::f32, {1, bias.extent(0)}, bias.device());
        return weight_of(context, row, type, false).data;
    }
    const TensorView aligned = context.step.take(type, bias.shape());
    context.queue.copy_bytes(aligned.data(), bias.data(), bias.extent(0) * size_of(type));
    return aligned.data();
}

/// result = from·weight (+ bias), or result += from·weight.
void multiply_rows(ops::Context& context,
                   Rows from,
                   const Factor& weight,
                   const void* bias,
                   bool add,
                   Rows result) {
    if (from.even() && result.even()) {
        for (Rows* rows : {&from, &result}) {
            rows->length *= rows->lanes;
            rows->lanes = 1;
        }
    }
    Product product{};
    product.in = from.dtype;
    product.out = result.dtype;
    product.columns = result.width;
    product.depth = from.width;
    product.batch = from.lanes;
    product.left = {nullptr, from.row_stride, from.lane_stride, from.alignment, false};
    product.right = weight;
    product.result_stride = result.row_stride;
    product.result_batch_stride = result.lane_stride;
    product.result_alignment = result.alignment;
    product.bias = bias;
    product.add = add;
    product.plan = {kPlannedRows, from.width, 1};
    const std::int64_t most_rows =
        std::max<std::int64_t>(kMostElements / std::max(from.row_stride, result.row_stride), 1);
    for (std::int64_t row = 0; row < from.length; row += most_rows) {
        product.rows = std::min(most_rows, from.length - row);
        product.left.data = from.at(0, row);
        product.result = result.at(0, row);
        queue_of(context).products().run(product);
    }
}

/// Calls body(first tile, tiles, first lane, lanes) over all in the order of the sums, with at most
/// `most` tiles of lanes at a time.
template <class Body>
void for_each_range(std::int64_t tiles, std::int64_t lanes, std::int64_t most, const Body& body) {
    const std::int64_t tile_step = std::clamp<std::int64_t>(most / lanes, 1, tiles);
    const std::int64_t lane_step = std::min(lanes, most);
    for (std::int64_t end = tiles; end > 0; end -= tile_step) {
        const std::int64_t first = std::max<std::int64_t>(end - tile_step, 0);
        for (std::int64_t lane = 0; lane < lanes; lane += lane_step) {
            body(first, end - first, lane, std::min(lane_step, lanes - lane));
        }
    }
}

/// Partial sums of `bytes` that are held at a time.
std::int64_t most_partials(std::int64_t bytes) {
    return std::clamp<std::int64_t>(kPartialBytes / bytes, 1, kMostPartials);
}

/// How the rows of dweight [O,I] are cut.
struct Cut {
    std::int64_t tiles;   // whole tiles of a lane
    std::int64_t rest;    // rows after them
    std::int64_t group;   // lanes whose rests are summed as one
    std::int64_t groups;  // of rests
    std::int64_t stride;  // from row to row of a partial sum
    std::int64_t most;    // partial sums at a time

    std::int64_t partials(std::int64_t lanes) const {
        return std::min(most, std::max(groups, tiles * lanes));
    }
    /// Groups whose rests are brought together at a time.
    std::int64_t packed_groups(std::int64_t row_bytes) const {
        return std::clamp<std::int64_t>(kPackedBytes / (group * rest * row_bytes), 1,
                                        std::min(groups, most));
    }
};

Cut cut_of(std::int64_t lanes, std::int64_t length, std::int64_t inputs, std::int64_t outputs) {
    Cut cut{};
    cut.tiles = length / kGradientTile;
    cut.rest = length % kGradientTile;
    cut.group = cut.rest > 0 ? std::min(kGradientTile / cut.rest, lanes) : 1;
    cut.groups = cut.rest > 0 ? ceil_div(lanes, cut.group) : 0;
    cut.stride = round_up(inputs, kMostAlignment / size_of(DType::f32));
    cut.most = most_partials(outputs * cut.stride * size_of(DType::f32));
    return cut;
}

/// dweight. Each lane's whole tiles make a partial sum apiece. What is left of it, shorter than a
/// tile, is too little to pay for one: as many lanes as fit a tile are summed as one, the first
/// lanes first, wherever these rows lie.
class WeightGradient {
  public:
    WeightGradient(ops::Context& context, const ops::LinearGrad& op)
        : context_(context),
          x_(rows_of(op.x)),
          dy_(rows_of(op.dy)),
          dweight_(static_cast<double*>(op.dweight.data())),
          cut_(cut_of(x_.lanes, x_.length, x_.width, dy_.width)) {}

    void run() {
        const Shape shape = {cut_.partials(x_.lanes), dy_.width, cut_.stride};
        partials_ = static_cast<float*>(context_.step.take(DType::f32, shape).data());
        if (cut_.rest > 0) {
            add_rests();
        }
        if (cut_.tiles > 0) {
            add_tiles();
        }
    }

  private:
    /// `count` products over `depth` rows each, and where their results go.
    struct Batch {
        std::int64_t lane, row, depth, count;
        std::int64_t lane_step, row_step;
        std::int64_t partial, partial_step;
    };

    void multiply(const Rows& x, const Rows& dy, const Batch& batch) {
        const auto factor = [&](const Rows& rows, bool transposed) -> Factor {
            return {rows.at(batch.lane, batch.row), rows.row_stride,
                    batch.lane_step * rows.lane_stride + batch.row_step * rows.row_stride,
                    rows.alignment, transposed};
        };
        const std::int64_t size = dy.width * cut_.stride;
        Product product{};
        product.in = x.dtype;
        product.out = DType::f32;
        product.rows = dy.width;
        product.columns = x.width;
        product.depth = batch.depth;
        product.batch = batch.count;
        product.left = factor(dy, true);
        product.right = factor(x, false);
        product.result = partials_ + batch.partial * size;
        product.result_stride = cut_.stride;
        product.result_batch_stride = batch.partial_step * size;
        product.result_alignment = kMostAlignment;
        product.plan = {dy.width, kGradientTile, kPlannedTiles};
        queue_of(context_).products().run(product);
    }

    void add_partials(std::int64_t lanes, std::int64_t tiles) {
        launch_linear_add_partials(
            {partials_, dweight_, lanes, tiles, dy_.width, x_.width, cut_.stride},
            stream_of(context_));
    }

    void add_tiles() {
        const bool one_batch = x_.length % kGradientTile == 0 && x_.even() && dy_.even();
        for_each_range(
            cut_.tiles, x_.lanes, cut_.most, [&](auto first, auto count, auto lane, auto lanes) {
                const std::int64_t row = first * kGradientTile;
                if (one_batch && count == cut_.tiles) {
                    multiply(x_, dy_,
                             {lane, row, kGradientTile, lanes * count, 0, kGradientTile, 0, 1});
                } else if (lanes <= count) {
                    for (std::int64_t i = 0; i < lanes; ++i) {
                        multiply(
                            x_, dy_,
                            {lane + i, row, kGradientTile, count, 0, kGradientTile, i * count, 1});
                    }
                } else {
                    for (std::int64_t i = 0; i < count; ++i) {
                        multiply(
                            x_, dy_,
                            {lane, row + i * kGradientTile, kGradientTile, lanes, 1, 0, i, count});
                    }
                }
                add_partials(lanes, count);
            });
    }

    void add_rests() {
        const auto& [tiles, rest, group, groups, stride, most] = cut_;
        const std::int64_t row = x_.length - rest;
        const bool adjacent = group == 1 || (tiles == 0 && x_.even() && dy_.even());
        const std::int64_t step = adjacent
                                      ? std::min(groups, most)
                                      : cut_.packed_groups(packed_bytes(x_) + packed_bytes(dy_));
        for (std::int64_t first = 0; first < groups; first += step) {
            const StepMemory::Scope scope(context_.step);
            const std::int64_t lane = first * group;
            const std::int64_t lanes = std::min(step * group, x_.lanes - lane);
            const Rows x = adjacent ? from(x_, lane, row) : packed(x_, lane, lanes, row);
            const Rows dy = adjacent ? from(dy_, lane, row) : packed(dy_, lane, lanes, row);
            const std::int64_t whole = lanes / group;
            const std::int64_t left = lanes % group;
            if (whole > 0) {
                multiply(x, dy, {0, 0, group * rest, whole, group, 0, 0, 1});
            }
            if (left > 0) {
                multiply(x, dy, {whole * group, 0, left * rest, 1, 0, 0, whole, 0});
            }
            add_partials(whole + (left > 0 ? 1 : 0), 1);
        }
    }

    static Rows from(const Rows& rows, std::int64_t lane, std::int64_t row) {
        Rows out = rows;
        out.data = rows.at(lane, row);
        return out;
    }

    /// Bytes from row to row once they are brought together, as well aligned as they were.
    static std::int64_t packed_bytes(const Rows& rows) {
        return round_up(rows.width * size_of(rows.dtype), rows.alignment);
    }

    /// All rows of some lanes from `row` on, one lane after the other.
    Rows packed(const Rows& rows, std::int64_t lane, std::int64_t lanes, std::int64_t row) {
        const std::int64_t size = size_of(rows.dtype);
        Rows out = rows;
        out.lanes = lanes;
        out.length = rows.length - row;
        out.row_stride = packed_bytes(rows) / size;
        out.lane_stride = out.length * out.row_stride;
        out.data =
            static_cast<char*>(context_.step.take(rows.dtype, {lanes, out.lane_stride}).data());
        PackRows pack{};
        pack.from = rows.at(lane, row);
        pack.to = out.data;
        pack.lanes = lanes;
        pack.rows = out.length;
        pack.width = rows.width * size;
        pack.lane_stride = rows.lane_stride * size;
        pack.row_stride = rows.row_stride * size;
        pack.to_stride = out.row_stride * size;
        pack.word = alignment_of(nullptr, pack.width, rows.alignment);
        launch_linear_pack_rows(pack, stream_of(context_));
        return out;
    }

    ops::Context& context_;
    Rows x_;
    Rows dy_;
    double* dweight_;
    Cut cut_;
    float* partials_ = nullptr;
};

/// dbias: a partial sum for each tile of each lane, the last one as long as it is.
void add_bias_gradient(ops::Context& context, const Rows& dy, double* dbias) {
    const std::int64_t tiles = ceil_div(dy.length, kGradientTile);
    const std::int64_t most = most_partials(dy.width * size_of(DType::f32));
    const std::int64_t count = std::min(most, tiles * dy.lanes);
    auto* const partials =
        static_cast<float*>(context.step.take(DType::f32, {count, dy.width}).data());
    for_each_range(tiles, dy.lanes, most, [&](auto first, auto some, auto lane, auto lanes) {
        ColumnSums sums{};
        sums.from = dy.at(lane, 0);
        sums.dtype = dy.dtype;
        sums.partials = partials;
        sums.lanes = lanes;
        sums.tiles = some;
        sums.first_row = first * kGradientTile;
        sums.length = dy.length;
        sums.columns = dy.width;
        sums.lane_stride = dy.lane_stride;
        sums.row_stride = dy.row_stride;
        launch_linear_column_sums(sums, stream_of(context));
        launch_linear_add_partials({partials, dbias, lanes, some, 1, dy.width, dy.width},
                                   stream_of(context));
    });
}

}  // namespace

/// For rows in f32 that lie close together; the weight in bf16 comes when this has been given back.
std::int64_t linear_backward_scratch_bytes(std::int64_t batch,
                                           std::int64_t length,
                                           std::int64_t inputs,
                                           std::int64_t outputs) {
    const Cut cut = cut_of(std::max<std::int64_t>(batch, 1), length, inputs, outputs);
    std::int64_t bytes = cut.partials(batch) * outputs * cut.stride * size_of(DType::f32);
    if (cut.group > 1 && cut.tiles > 0) {
        const std::int64_t row_bytes = (inputs + outputs) * size_of(DType::f32);
        const std::int64_t lanes = std::min(cut.packed_groups(row_bytes) * cut.group, batch);
        bytes += lanes * cut.rest * row_bytes;
    }
    return std::max(bytes, outputs * inputs * size_of(DType::bf16));
}

void linear_forward(ops::Context& context, const ops::Linear& op) {
    if (op.y.count() == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    const Factor weight = weight_of(context, op.weight, op.x.dtype(), true);
    const void* const bias = bias_of(context, op.bias, op.y.dtype());
    multiply_rows(context, rows_of(op.x), weight, bias, false, rows_of(op.y));
}

void linear_backward(ops::Context& context, const ops::LinearGrad& op) {
    if (op.x.count() == 0) {
        return;
    }
    {
        const StepMemory::Scope scope(context.step);
        WeightGradient(context, op).run();
    }
    if (op.dbias) {
        const StepMemory::Scope scope(context.step);
        add_bias_gradient(context, rows_of(op.dy), static_cast<double*>(op.dbias.data()));
    }
    if (op.dx) {
        const StepMemory::Scope scope(context.step);
        const Factor weight = weight_of(context, op.weight, op.x.dtype(), false);
        multiply_rows(context, rows_of(op.dy), weight, nullptr, op.add_to_dx, rows_of(op.dx));
    }
}

}  // namespace mambase::cuda
