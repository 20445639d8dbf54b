// What every command is given beside its own options.
#pragma once

#include "base/observer.hpp"
#include "base/version.hpp"
#include "kernels/tensor/dtype.hpp"

#include <atomic>
#include <string>

namespace mambase::pipelines {

struct Runtime {
    int threads = 1;  // that compute, the caller included; a reader's thread is extra
    Device device;
    DType precision = DType::f32;            // of activations: f32, or bf16 on CUDA
    const Observer& observer;                // facts, warnings, progress
    const std::atomic<int>* stop = nullptr;  // signal that asks for an orderly stop; 0: go on
    bool no_pg = false;                      // no command line and no date in outputs
    std::string command_line;
    std::string version = kVersion;

    bool stop_requested() const {
        return stop != nullptr && stop->load(std::memory_order_relaxed) != 0;
    }
    /// Throws Error{cancelled} once a stop is asked for; for commands that have nothing to save.
    void throw_if_stopped() const;
};

}  // namespace mambase::pipelines
