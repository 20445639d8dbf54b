// Which backends this build has; the one place that knows them.
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/cpu/cpu_table.hpp"
#include "kernels/cpu/simd_level.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/ops/op_table.hpp"

namespace mambase::ops {

const OpTable& op_table(Device device) {
    MAMBASE_REQUIRE(device.kind == Device::Kind::cpu, ErrorCode::unsupported,
                    concat("this build has no backend for the device ", name(device)));
    return cpu::table(cpu::choose_simd_level());
}

}  // namespace mambase::ops
