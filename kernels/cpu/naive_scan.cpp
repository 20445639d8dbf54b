#include "kernels/cpu/naive_scan.hpp"

#include "base/checked_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kChannels = 64;  // of a task of the recurrence

/// The arguments, the steps' results, and the steps.
class Steps {
  public:
    Steps(ops::Context& context, const ops::SelectiveScan& op)
        : pool_(context.pool),
          batch_(op.x.extent(0)),
          length_(op.x.extent(1)),
          inner_(op.x.extent(2)),
          state_(op.a_log.extent(1)),
          x_(op.x.as<const float, 3>()),
          dt_raw_(op.dt_raw.as<const float, 3>()),
          z_(op.z.as<const float, 3>()),
          b_(op.b.as<const float, 3>()),
          c_(op.c.as<const float, 3>()),
          a_log_(op.a_log.as<const float, 2>()),
          d_(op.d.as<const float, 1>()),
          dt_bias_(op.dt_bias.as<const float, 1>()),
          state_in_(op.state_in.as<const float, 3>()),
          state_out_(op.state_out.as<float, 3>()),
          y_(op.y.as<float, 3>()),
          delta_(context.step.take(DType::f32, {batch_, length_, inner_}).as<float, 3>()),
          decay_(context.step.take(DType::f32, {batch_, length_, inner_, state_}).as<float, 4>()),
          states_(context.step.take(DType::f32, {batch_, length_, inner_, state_}).as<float, 4>()),
          rate_(context.step.take(DType::f32, {inner_, state_}).as<float, 2>()) {}

    void take_deltas() const {
        for_each_row([&](std::int64_t lane, std::int64_t t) {
            for (std::int64_t e = 0; e < inner_; ++e) {
                const float r = dt_raw_(lane, t, e) + dt_bias_(e);
                delta_(lane, t, e) = r > 20.0F ? r : std::log1p(std::exp(r));
            }
        });
    }
    void take_decays() const {
        for (std::int64_t e = 0; e < inner_; ++e) {
            for (std::int64_t n = 0; n < state_; ++n) {
                rate_(e, n) = -std::exp(a_log_(e, n));
            }
        }
        for_each_row([&](std::int64_t lane, std::int64_t t) {
            for (std::int64_t e = 0; e < inner_; ++e) {
                for (std::int64_t n = 0; n < state_; ++n) {
                    decay_(lane, t, e, n) = std::exp(delta_(lane, t, e) * rate_(e, n));
                }
            }
        });
    }
    void take_inputs() const {
        for_each_row([&](std::int64_t lane, std::int64_t t) {
            for (std::int64_t e = 0; e < inner_; ++e) {
                for (std::int64_t n = 0; n < state_; ++n) {
                    states_(lane, t, e, n) = delta_(lane, t, e) * b_(lane, t, n) * x_(lane, t, e);
                }
            }
        });
    }
    void run_recurrence() const;
    void write_outputs() const {
        for_each_row([&](std::int64_t lane, std::int64_t t) {
            for (std::int64_t e = 0; e < inner_; ++e) {
                float sum = d_(e) * x_(lane, t, e);
                for (std::int64_t n = 0; n < state_; ++n) {
                    sum += c_(lane, t, n) * states_(lane, t, e, n);
                }
                const float z = z_(lane, t, e);
                y_(lane, t, e) = sum * z / (1.0F + std::exp(-z));
            }
        });
    }

  private:
    template <class Body>
    void for_each_row(const Body& body) const {
        pool_.parallel_for(batch_ * length_,
                           [&](std::int64_t row) { body(row / length_, row % length_); });
    }

    ThreadPool& pool_;
    std::int64_t batch_, length_, inner_, state_;
    View<const float, 3> x_, dt_raw_, z_, b_, c_;
    View<const float, 2> a_log_;
    View<const float, 1> d_, dt_bias_;
    View<const float, 3> state_in_;
    View<float, 3> state_out_, y_;
    View<float, 3> delta_;           // [B,T,E]
    View<float, 4> decay_, states_;  // [B,T,E,N]
    View<float, 2> rate_;            // [E,N]
};

void Steps::run_recurrence() const {
    const std::int64_t blocks = ceil_div(inner_, kChannels);
    pool_.parallel_for(batch_ * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t first = task % blocks * kChannels;
        const std::int64_t count = std::min(kChannels, inner_ - first) * state_;
        float* const h = &state_out_(lane, first);
        std::copy_n(&state_in_(lane, first), count, h);
        for (std::int64_t t = 0; t < length_; ++t) {
            const float* const a = &decay_(lane, t, first);
            float* const to = &states_(lane, t, first);
            for (std::int64_t i = 0; i < count; ++i) {
                h[i] = a[i] * h[i] + to[i];
                to[i] = h[i];
            }
        }
    });
}

}  // namespace

void naive_scan_forward(ops::Context& context, const ops::SelectiveScan& op) {
    const StepMemory::Scope scope(context.step);
    const Steps steps(context, op);
    steps.take_deltas();
    steps.take_decays();
    steps.take_inputs();
    steps.run_recurrence();
    steps.write_outputs();
}

}  // namespace mambase::cpu
