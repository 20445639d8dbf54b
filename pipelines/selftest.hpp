// selftest: golden inputs with known results through every kernel path of this machine.
#pragma once

#include "pipelines/runtime.hpp"

#include <string>
#include <vector>

namespace mambase::pipelines {

/// One backend in one precision.
struct SelftestLine {
    std::string backend;  // "cpu avx2", "cuda:0 NVIDIA H100 80GB HBM3, bf16"
    int comparisons = 0;  // with golden results
    double largest = 0.0;
    double bound = 0.0;  // of each difference, relative
    std::string worst;   // where the largest is
    int same = 0;        // comparisons of bits, and those of them that differ
    int differing = 0;   //
    std::vector<std::string> failures;
    bool ok() const { return failures.empty(); }
};

struct SelftestReport {
    std::vector<SelftestLine> lines;
    std::string note;  // why no device is among them; may be empty
    bool ok() const;
    /// One line a backend, and one a failure.
    std::string text() const;
};

/// The CPU at every instruction set that it has, then each visible CUDA device in f32 and bf16.
/// Whatever the run's device and threads are. Throws Error{device} where a visible one cannot be
/// used.
SelftestReport selftest(const Runtime& runtime);

}  // namespace mambase::pipelines
