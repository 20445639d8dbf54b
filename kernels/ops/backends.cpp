// Which backends this build has; the one place that knows them.
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/cpu/cpu_table.hpp"
#include "kernels/cpu/naive_scan.hpp"
#include "kernels/cpu/simd_level.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/ops/naive_scan.hpp"
#include "kernels/ops/op_table.hpp"

#include <string>
#include <vector>

#if MAMBASE_WITH_CUDA
#include "kernels/cuda/cuda_table.hpp"
#include "kernels/cuda/naive_scan.hpp"
#endif

namespace mambase::ops {

namespace {

[[noreturn]] void throw_no_backend(Device device) {
    throw Error(ErrorCode::unsupported,
                concat("this build has no backend for the device ", name(device)));
}

}  // namespace

const OpTable& op_table(Device device) {
    if (device.kind == Device::Kind::cpu) {
        return cpu::table(cpu::choose_simd_level());
    }
#if MAMBASE_WITH_CUDA
    return cuda::table();
#else
    throw_no_backend(device);
#endif
}

std::vector<const OpTable*> cpu_tables() {
    std::vector<const OpTable*> out;
    for (const cpu::SimdLevel level :
         {cpu::SimdLevel::scalar, cpu::SimdLevel::avx2, cpu::SimdLevel::avx512}) {
        if (cpu::is_supported(level)) {
            out.push_back(&cpu::table(level));
        }
    }
    return out;
}

std::unique_ptr<DeviceQueue> open_device(Device device) {
#if MAMBASE_WITH_CUDA
    if (device.kind == Device::Kind::cuda) {
        return cuda::open_device(device.index);
    }
#endif
    throw_no_backend(device);
}

bool has_backend(Device::Kind kind) noexcept {
#if MAMBASE_WITH_CUDA
    constexpr bool has_cuda = true;
#else
    constexpr bool has_cuda = false;
#endif
    return kind == Device::Kind::cpu || has_cuda;
}

std::string device_name(Device device) {
#if MAMBASE_WITH_CUDA
    if (device.kind == Device::Kind::cuda) {
        return cuda::device_name(device.index);
    }
#endif
    return op_table(device).name;
}

std::string cuda_summary() {
#if MAMBASE_WITH_CUDA
    return cuda::summary();
#else
    return "not in this build";
#endif
}

int device_count(Device::Kind kind) {
    if (kind == Device::Kind::cpu) {
        return 1;
    }
#if MAMBASE_WITH_CUDA
    return cuda::device_count();
#else
    return 0;
#endif
}

void naive_scan_forward(Context& context, const SelectiveScan& op) {
    check(op);
    MAMBASE_REQUIRE(op.z && op.state_in && op.state_out && !op.segment && !op.valid && !op.saved,
                    ErrorCode::shape, "naive_scan: a gate and both states, and nothing else");
#if MAMBASE_WITH_CUDA
    if (context.device.kind == Device::Kind::cuda) {
        return cuda::naive_scan_forward(context, op);
    }
#endif
    cpu::naive_scan_forward(context, op);
}

}  // namespace mambase::ops
