#include "pipelines/selftest_cases.hpp"

#include "base/rng.hpp"

#include <cmath>

namespace mambase::pipelines {

namespace {

constexpr std::uint64_t kSeed = 2026;
// Streams of random numbers beside those of the parameters, which are counted from 0.
constexpr std::uint64_t kIdsStream = 1000;
constexpr std::uint64_t kWeightStream = 1001;
constexpr std::uint64_t kSignStream = 1002;

std::vector<SelftestCase> make_cases() {
    model::ModelConfig even = model::ModelConfig::of_width(16, 2);
    even.dt_rank = 8;
    model::ModelConfig odd = model::ModelConfig::of_width(12, 2);
    odd.vocab_size = 12;
    odd.d_state = 5;
    odd.dt_rank = 3;
    odd.d_conv = 3;
    odd.use_bias = true;
    odd.tie_embeddings = false;
    return {{"long", even, 1, 8192 + 77}, {"lanes", even, 5, 301}, {"odd", odd, 3, 131}};
}

template <class T>
Sketch sketch(const T* values, std::int64_t count) {
    const CounterRng rng(kSeed, kSignStream);
    Sketch out;
    for (std::int64_t i = 0; i < count; ++i) {
        const auto value = static_cast<double>(values[i]);
        const std::uint64_t signs = rng.bits(static_cast<std::uint64_t>(i));
        for (std::size_t k = 0; k < Sketch::kSums; ++k) {
            out.sums[k] += (signs >> k & 1U) != 0 ? value : -value;
        }
        out.norm += value * value;
    }
    out.norm = std::sqrt(out.norm);
    return out;
}

}  // namespace

const std::vector<SelftestCase>& selftest_cases() {
    static const std::vector<SelftestCase> cases = make_cases();
    return cases;
}

model::Model selftest_model(const SelftestCase& at) {
    model::Model out = model::Model::initialise(at.config, kSeed, host_allocator());
    for (std::size_t i = 0; i < out.params().size(); ++i) {
        const TensorView value = out.params()[i].value.view();
        const CounterRng rng(kSeed + 1, i);
        for (std::int64_t k = 0; k < value.count(); ++k) {
            static_cast<float*>(value.data())[k] +=
                static_cast<float>(0.1 * rng.normal(static_cast<std::uint64_t>(k)));
        }
    }
    return out;
}

Tensor selftest_ids(const SelftestCase& at) {
    Tensor out(host_allocator(), DType::u8, {at.lanes, at.length + 1}, "selftest ids");
    const CounterRng rng(kSeed, kIdsStream);
    for (std::int64_t i = 0; i < out.shape().count(); ++i) {
        static_cast<std::uint8_t*>(out.view().data())[i] = static_cast<std::uint8_t>(rng.below(
            static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(at.config.vocab_size)));
    }
    return out;
}

Tensor selftest_weights(const SelftestCase& at) {
    constexpr float choices[] = {1.0F, 0.1F, 0.0F};
    Tensor out(host_allocator(), DType::f32, {at.lanes, at.length}, "selftest weights");
    const CounterRng rng(kSeed, kWeightStream);
    for (std::int64_t i = 0; i < out.shape().count(); ++i) {
        static_cast<float*>(out.view().data())[i] =
            choices[rng.below(static_cast<std::uint64_t>(i), 3)];
    }
    return out;
}

Sketch sketch_of(ConstTensorView values) {
    return values.dtype() == DType::f64
               ? sketch(static_cast<const double*>(values.data()), values.count())
               : sketch(static_cast<const float*>(values.data()), values.count());
}

Sketch sketch_of(const double* values, std::int64_t count) {
    return sketch(values, count);
}

double relative_difference(const Sketch& a, const Sketch& b) {
    double sum = 0.0;
    for (std::size_t k = 0; k < Sketch::kSums; ++k) {
        sum += (a.sums[k] - b.sums[k]) * (a.sums[k] - b.sums[k]);
    }
    return std::sqrt(sum / Sketch::kSums) / b.norm;
}

}  // namespace mambase::pipelines
