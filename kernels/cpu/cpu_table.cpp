#include "kernels/cpu/cpu_table.hpp"

#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"

namespace mambase::cpu {

namespace {

/// OpTable::run_tile. Here positions follow one another, so that any would do: lanes of this length
/// make tasks enough for many threads, and short windows fill them.
constexpr std::int64_t kRunTile = 2048;

template <SimdLevel L>
constexpr ops::OpTable make_table(const char* name) {
    ops::OpTable table{};
    table.name = name;
    table.gradient_tile = kGradientTile;
    table.run_tile = kRunTile;
    table.linear_backward_scratch_bytes = cpu::linear_backward_scratch_bytes;
    table.selective_scan_backward_scratch_bytes = cpu::selective_scan_backward_scratch_bytes;
    table.embedding_forward = cpu::embedding_forward;
    table.embedding_backward = cpu::embedding_backward;
    table.linear_forward = cpu::linear_forward<L>;
    table.linear_backward = cpu::linear_backward<L>;
    table.rms_norm_forward = cpu::rms_norm_forward<L>;
    table.rms_norm_backward = cpu::rms_norm_backward<L>;
    table.causal_conv1d_forward = cpu::causal_conv1d_forward<L>;
    table.causal_conv1d_backward = cpu::causal_conv1d_backward<L>;
    table.selective_scan_saved_bytes = cpu::selective_scan_saved_bytes<L>;
    table.selective_scan_forward = cpu::selective_scan_forward<L>;
    table.selective_scan_backward = cpu::selective_scan_backward<L>;
    table.cross_entropy_forward = cpu::cross_entropy_forward<L>;
    table.cross_entropy_backward = cpu::cross_entropy_backward<L>;
    table.pool_forward = cpu::pool_forward;
    table.pool_values = cpu::pool_values;
    table.pool_backward = cpu::pool_backward;
    table.cast = cpu::cast;
    table.fill = cpu::fill;
    table.add = cpu::add;
    table.norm_sq = cpu::norm_sq;
    table.adamw = cpu::adamw;
    return table;
}

constexpr ops::OpTable kScalar = make_table<SimdLevel::scalar>("cpu scalar");
constexpr ops::OpTable kAvx2 = make_table<SimdLevel::avx2>("cpu avx2");
constexpr ops::OpTable kAvx512 = make_table<SimdLevel::avx512>("cpu avx512");

}  // namespace

const ops::OpTable& table(SimdLevel level) {
    switch (level) {
        case SimdLevel::scalar:
            return kScalar;
        case SimdLevel::avx2:
            return kAvx2;
        case SimdLevel::avx512:
            return kAvx512;
    }
    return kScalar;
}

}  // namespace mambase::cpu
