// What the model's tests share: small models, a context on the CPU, files with a byte out of place.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/rng.hpp"
#include "base/thread_pool.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/model.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::test {

/// Odd sizes everywhere, biases and an untied head where asked for.
inline model::ModelConfig small_config(bool everything = false) {
    model::ModelConfig config = model::ModelConfig::of_width(12, 3);
    config.vocab_size = 12;
    config.d_state = 5;
    config.dt_rank = 3;
    config.d_conv = everything ? 3 : 4;
    config.use_bias = everything;
    config.tie_embeddings = !everything;
    return config;
}

/// A context on the CPU with everything that it refers to.
class CpuContext {
  public:
    explicit CpuContext(int threads = 1) : pool_(threads), step_(host_allocator()) {
        set_flush_denormals();
    }
    ops::Context& operator*() { return context_; }
    ops::Context* operator->() { return &context_; }

  private:
    ThreadPool pool_;
    StepMemory step_;
    ops::Context context_{ops::op_table(Device{}), pool_, step_};
};

/// [B,T] ids below `vocab`, a function of seed and place.
inline Tensor random_ids(std::int64_t lanes,
                         std::int64_t length,
                         std::int64_t vocab,
                         std::uint64_t seed) {
    Tensor out(host_allocator(), DType::u8, {lanes, length}, "ids");
    const CounterRng rng(seed, 0);
    auto* const ids = static_cast<std::uint8_t*>(out.view().data());
    for (std::int64_t i = 0; i < lanes * length; ++i) {
        ids[i] = static_cast<std::uint8_t>(
            rng.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocab)));
    }
    return out;
}

inline Tensor filled(const Shape& shape, float value) {
    Tensor out(host_allocator(), DType::f32, shape, "test");
    auto* const values = static_cast<float*>(out.view().data());
    for (std::int64_t i = 0; i < shape.count(); ++i) {
        values[i] = value;
    }
    return out;
}

/// The bytes of a contiguous tensor, for comparing bit by bit.
inline std::string bytes_of(ConstTensorView view) {
    return {static_cast<const char*>(view.data()),
            static_cast<std::size_t>(view.count() * size_of(view.dtype()))};
}

/// Weights that are not those of initialisation: norms, D and biases drawn too, so that an error in
/// any of them shows.
inline model::Model random_model(const model::ModelConfig& config, std::uint64_t seed) {
    model::Model out = model::Model::initialise(config, seed, host_allocator());
    for (std::size_t i = 0; i < out.params().size(); ++i) {
        model::Param& param = out.params()[i];
        const CounterRng rng(seed + 1, i);
        auto* const values = static_cast<float*>(param.value.view().data());
        for (std::int64_t k = 0; k < param.shape.count(); ++k) {
            values[k] += static_cast<float>(0.1 * rng.normal(static_cast<std::uint64_t>(k)));
        }
    }
    return out;
}

/// A safetensors file of this header and so many zero bytes of data.
inline std::string safetensors_text(std::string_view header, std::size_t data_bytes) {
    const std::uint64_t length = header.size();
    std::string out(sizeof length, '\0');
    std::memcpy(out.data(), &length, sizeof length);
    out += header;
    out.append(data_bytes, '\0');
    return out;
}

/// The message of the Error that `call` throws; empty where it throws none.
template <class Call>
std::string error_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

}  // namespace mambase::test
