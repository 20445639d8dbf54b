// What the tests of ops run on: each SIMD level of the CPU and, in a build with CUDA on a machine
// with a card, the CUDA ops behind a mirror, with activations in f32 and in bf16.
#pragma once

#include "base/text.hpp"
#include "base/thread_pool.hpp"
#include "kernels/cpu/cpu_table.hpp"
#include "kernels/cpu/simd_level.hpp"
#include "kernels/ops/op_table.hpp"
#include "kernels/tensor/buffer.hpp"
#include "tests/support/cuda_mirror.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::test {

struct Backend {
    const ops::OpTable* table;  // takes views of host memory
    bool is_device = false;
    /// bf16: activations are rounded before the op sees them, and its results are rounded.
    DType activations = DType::f32;

    std::string_view name() const { return table->name; }
};

inline Backend cpu_backend(cpu::SimdLevel level) {
    return {&cpu::table(level)};
}

/// The levels that this processor has, scalar first.
inline std::vector<cpu::SimdLevel> supported_levels() {
    std::vector<cpu::SimdLevel> levels;
    for (const cpu::SimdLevel level :
         {cpu::SimdLevel::scalar, cpu::SimdLevel::avx2, cpu::SimdLevel::avx512}) {
        if (cpu::is_supported(level)) {
            levels.push_back(level);
        }
    }
    return levels;
}

/// In the environment, MAMBASE_TEST_BACKENDS leaves only those whose name begins so.
inline bool is_wanted(const Backend& backend) {
    const char* const wanted = std::getenv("MAMBASE_TEST_BACKENDS");
    return wanted == nullptr || backend.name().substr(0, std::string_view(wanted).size()) == wanted;
}

/// The CUDA backends: none where there is no card. A missing one of `entries` leaves a backend out
/// and says so, once.
template <class... Entry>
std::vector<Backend> device_backends(const char* op, Entry ops::OpTable::*... entries) {
    std::vector<Backend> out;
    if (cuda_mirror(Mirror::f32) == nullptr) {
        return out;
    }
    static std::set<std::string> said;
    for (const Backend& backend : {Backend{cuda_mirror(Mirror::f32), true, DType::f32},
                                   Backend{cuda_mirror(Mirror::bf16), true, DType::bf16}}) {
        if (((backend.table->*entries == nullptr) || ...)) {
            const std::string line = concat("SKIP: ", op, " is missing on ", backend.name());
            if (said.insert(line).second) {
                std::printf("%s\n", line.c_str());
            }
        } else if (is_wanted(backend)) {
            out.push_back(backend);
        }
    }
    return out;
}

/// Every SIMD level, and the devices as above.
template <class... Entry>
std::vector<Backend> backends(const char* op, Entry ops::OpTable::*... entries) {
    std::vector<Backend> out;
    for (const cpu::SimdLevel level : supported_levels()) {
        if (is_wanted(cpu_backend(level))) {
            out.push_back(cpu_backend(level));
        }
    }
    const std::vector<Backend> devices = device_backends(op, entries...);
    out.insert(out.end(), devices.begin(), devices.end());
    return out;
}

/// The same where the CPU has one text for all levels.
template <class... Entry>
std::vector<Backend> scalar_and_devices(const char* op, Entry ops::OpTable::*... entries) {
    std::vector<Backend> out = device_backends(op, entries...);
    if (is_wanted(cpu_backend(cpu::SimdLevel::scalar))) {
        out.insert(out.begin(), cpu_backend(cpu::SimdLevel::scalar));
    }
    return out;
}

/// For ops without activations, and for what only f32 can show.
inline std::vector<Backend> in_f32(const std::vector<Backend>& backends) {
    std::vector<Backend> out;
    for (const Backend& backend : backends) {
        if (backend.activations == DType::f32) {
            out.push_back(backend);
        }
    }
    return out;
}

/// Threads whose number may not matter; on a device, another run with one.
inline std::vector<int> thread_counts(const Backend& backend) {
    return backend.is_device ? std::vector<int>{1} : std::vector<int>{2, 3, 7};
}

/// A context on a backend, with its threads and memory.
class Run {
  public:
    explicit Run(const Backend& backend, int threads = 1, Allocator& allocator = host_allocator())
        : backend_(backend),
          pool_(threads),
          step_(allocator),
          context_(*backend.table, pool_, step_) {}

    ops::Context& context() { return context_; }
    StepMemory& step() { return step_; }
    const Backend& backend() const { return backend_; }

  private:
    Backend backend_;
    ThreadPool pool_;
    StepMemory step_;
    ops::Context context_;
};

/// The line that says which case failed and replays it: "rms_norm [2, 3, 40] gap 3 seed 7 on avx2".
template <class... Parts>
std::string replay_line(const Backend& backend, const Parts&... parts) {
    return concat(parts..., " on ", backend.name());
}

}  // namespace mambase::test
