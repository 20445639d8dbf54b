#include "kernels/cpu/cpu_table.hpp"

#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"

namespace mambase::cpu {

namespace {

template <SimdLevel L>
constexpr ops::OpTable make_table(const char* name) {
    ops::OpTable table{};
    table.name = name;
    table.gradient_tile = kGradientTile;
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
