#include "kernels/ops/rms_norm.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"
#include "kernels/cpu/simd/row_kernels.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kRowBlock = 64;

template <class T>
RowSpan<T> rows_at(const View<T, 3>& view, std::int64_t lane, std::int64_t row) {
    return {view ? &view(lane, row) : nullptr, view.stride[1]};
}

void require_ids(const RmsNormRows& rows, std::int64_t entries) {
    for (std::int64_t row = 0; row < rows.rows; ++row) {
        MAMBASE_REQUIRE(
            rows.ids[row] < entries, ErrorCode::shape,
            concat("rms_norm: id ", rows.ids[row], ", residual_in has ", entries, " rows"));
    }
}

}  // namespace

template <SimdLevel L>
void rms_norm_forward(ops::Context& context, const ops::RmsNorm& op) {
    const auto hidden = op.hidden.as<const float, 3>();
    const auto residual_in = (op.ids ? ConstTensorView() : op.residual_in).as<const float, 3>();
    const auto table = (op.ids ? op.residual_in : ConstTensorView()).as<const float, 2>();
    const auto ids = op.ids.as<const std::uint8_t, 2>();
    const auto residual_out = op.residual_out.as<float, 3>();
    const auto y = op.y.as<float, 3>();
    const auto rstd = op.rstd.as<float, 2>();
    const auto weight = op.weight.as<const float, 1>();
    const std::int64_t length = y.extent[1];
    const std::int64_t blocks = ceil_div(length, kRowBlock);
    context.pool.parallel_for(y.extent[0] * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t row = task % blocks * kRowBlock;
        RmsNormRows rows{};
        rows.rows = std::min(kRowBlock, length - row);
        rows.width = y.extent[2];
        rows.hidden = rows_at(hidden, lane, row);
        if (ids) {
            rows.residual_in = {table.data, table.stride[0]};
            rows.ids = &ids(lane, row);
            require_ids(rows, table.extent[0]);
        } else {
            rows.residual_in = rows_at(residual_in, lane, row);
        }
        rows.weight = weight.data;
        rows.eps = op.eps;
        rows.residual_out = rows_at(residual_out, lane, row);
        rows.y = rows_at(y, lane, row);
        rows.rstd = rstd ? &rstd(lane, row) : nullptr;
        row_kernels<L>().rms_norm(rows);
    });
}

template <SimdLevel L>
void rms_norm_backward(ops::Context& context, const ops::RmsNormGrad& op) {
    const StepMemory::Scope scope(context.step);
    const auto residual_out = op.residual_out.as<const float, 3>();
    const auto rstd = op.rstd.as<const float, 2>();
    const auto dy = op.dy.as<const float, 3>();
    const auto dresidual_out = op.dresidual_out.as<const float, 3>();
    const auto dx = op.dx.as<float, 3>();
    const auto weight = op.weight.as<const float, 1>();
    const auto dweight = op.dweight.as<double, 1>();
    const std::int64_t lanes = residual_out.extent[0];
    const std::int64_t length = residual_out.extent[1];
    const std::int64_t width = residual_out.extent[2];
    const std::int64_t tiles = ceil_div(length, kGradientTile);
    const auto sums = context.step.take(DType::f32, {tiles, lanes, width}).as<float, 3>();
    context.pool.parallel_for(lanes * tiles, [&](std::int64_t task) {
        const std::int64_t lane = task % lanes;
        const std::int64_t tile = task / lanes;
        const std::int64_t row = tile * kGradientTile;
        RmsNormGradRows rows{};
        rows.rows = std::min(kGradientTile, length - row);
        rows.width = width;
        rows.residual_out = rows_at(residual_out, lane, row);
        rows.dy = rows_at(dy, lane, row);
        rows.dresidual_out = rows_at(dresidual_out, lane, row);
        rows.weight = weight.data;
        rows.rstd = &rstd(lane, row);
        rows.dx = rows_at(dx, lane, row);
        rows.dweight = &sums(tile, lane);
        row_kernels<L>().rms_norm_grad(rows);
    });
    for (std::int64_t tile = tiles - 1; tile >= 0; --tile) {
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            for (std::int64_t i = 0; i < width; ++i) {
                dweight(i) += static_cast<double>(sums(tile, lane, i));
            }
        }
    }
}

template void rms_norm_forward<SimdLevel::scalar>(ops::Context&, const ops::RmsNorm&);
template void rms_norm_forward<SimdLevel::avx2>(ops::Context&, const ops::RmsNorm&);
template void rms_norm_forward<SimdLevel::avx512>(ops::Context&, const ops::RmsNorm&);
template void rms_norm_backward<SimdLevel::scalar>(ops::Context&, const ops::RmsNormGrad&);
template void rms_norm_backward<SimdLevel::avx2>(ops::Context&, const ops::RmsNormGrad&);
template void rms_norm_backward<SimdLevel::avx512>(ops::Context&, const ops::RmsNormGrad&);

}  // namespace mambase::cpu
