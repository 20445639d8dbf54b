#include "kernels/ops/pool.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/pool.hpp"
#include "tests/support/tensor_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return scalar_and_devices("pool", &ops::OpTable::pool_forward, &ops::OpTable::pool_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
    std::int64_t batch, length, groups, width;
    ops::PoolMode mode;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("pool [", batch, ", ", length, ", ", width, "] into ", groups, " mode ",
                      static_cast<int>(mode), " seed ", seed, aligned ? "" : " unaligned");
    }
};

/// Rising group ids, a fifth of the rows left out.
Tensor rising_groups(const Case& c) {
    Tensor group = random_ids(DType::i32, {c.batch, c.length}, 5, c.seed, 9);
    auto* const id = static_cast<std::int32_t*>(group.view().data());
    for (std::int64_t i = 0; i < c.batch * c.length; ++i) {
        id[i] = id[i] == 0 ? -1 : static_cast<std::int32_t>(i % c.length * c.groups / c.length);
    }
    return group;
}

struct Lab {
    Case at;
    StridedTensor x, dx;
    Tensor dy, group, sum, count, pending;

    explicit Lab(const Case& c, DType activations = DType::f32)
        : at(c),
          x(rounded(normal_tensor({c.batch, c.length, c.width}, c.seed, 1), activations),
            at.gap(3),
            kNan),
          dx({c.batch, c.length, c.width}, at.gap(2), kNan),
          dy(normal_tensor({c.batch, c.groups, c.width}, c.seed, 2)),
          group(rising_groups(c)),
          sum(filled(DType::f64, {c.batch, c.groups, c.width}, 0.0)),
          count(filled(DType::i64, {c.batch, c.groups}, 0.0)),
          pending(filled(DType::i64, {c.batch, c.groups}, 0.0)) {
        // Two rows of a group that hold the same maximum.
        for (std::int64_t t = 0; t + 1 < c.length; t += 7) {
            copy_from(x.view().slice(1, t, t + 1), to_array(x.view().slice(1, t + 1, t + 2)));
        }
    }

    void forward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::Pool op;
        op.x = x.view().slice(1, lo, hi);
        op.group = group.view().slice(1, lo, hi);
        op.mode = at.mode;
        op.sum = sum.view();
        op.count = count.view();
        ops::pool_forward(run.context(), op);
    }

    void backward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::PoolGrad op;
        op.x = x.view().slice(1, lo, hi);
        op.group = group.view().slice(1, lo, hi);
        op.mode = at.mode;
        op.sum = sum.view();
        op.count = count.view();
        op.dy = dy.view();
        op.dx = dx.view().slice(1, lo, hi);
        op.pending = pending.view();
        ops::pool_backward(run.context(), op);
    }

    Tensor values(Run& run) const {
        Tensor y = filled(DType::f32, sum.shape(), kNan);
        ops::pool_values(
            run.context(),
            {.mode = at.mode, .sum = sum.view(), .count = count.view(), .y = y.view()});
        return y;
    }

    /// The same in double precision.
    Array value() const {
        Array out = to_array(sum.view());
        const Array counts = to_array(count.view());
        for (std::int64_t b = 0; b < at.batch; ++b) {
            for (std::int64_t g = 0; g < at.groups; ++g) {
                for (std::int64_t d = 0; d < at.width && at.mode == ops::PoolMode::mean; ++d) {
                    out(b, g, d) /= counts(b, g) > 0.0 ? counts(b, g) : 1.0;
                }
            }
        }
        return out;
    }
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const ops::PoolMode mode :
         {ops::PoolMode::mean, ops::PoolMode::max, ops::PoolMode::last}) {
        for (const std::int64_t length : {1, 2, 3, 63, 64, 65, 257}) {
            all.push_back({2, length, 3, 40, mode});
        }
        all.push_back({1, 300, 100, 3, mode});
        all.push_back({2, 600, 1, 130, mode});
        all.push_back({1, 0, 2, 8, mode});
    }
    return all;
}

void check_case(const Case& c, const Backend& backend) {
    INFO(replay_line(backend, c.text()));
    Lab lab(c, backend.activations);
    Run run(backend);
    lab.forward(run, 0, c.length);
    lab.backward(run, 0, c.length);
    Tensor expected = filled(DType::f32, lab.sum.shape(), 0.0);
    copy_from(expected.view(), lab.value());  // rounds once, as the op does
    CHECK(same_bits(expected.view(), lab.values(run).view()));
    const Array x = to_array(lab.x.view());
    const Array group = to_array(lab.group.view());
    const reference::Pooled pooled = reference::pool(x, group, c.groups, c.mode);
    const Array dx = reference::pool_grad(x, group, pooled, to_array(lab.dy.view()), c.mode);
    const Errors errors{backend, "pool"};
    errors.values("value", lab.value(), pooled.value, kDouble);
    errors.values("count", lab.count.view(), pooled.count, 0.0);
    errors.values("pending", lab.pending.view(), pooled.count, 0.0);
    errors.values("dx", lab.dx.view(), dx, activation_gradient_bound(backend));
    CHECK(lab.dx.gaps_untouched());
}

void check_chunks(const Case& c, const Backend& backend) {
    Lab whole(c);
    Run run(backend);
    whole.forward(run, 0, c.length);
    whole.backward(run, 0, c.length);
    const auto check = [&](Run& other, std::int64_t chunk, int threads) {
        INFO(replay_line(backend, c.text(), " chunk ", chunk, " threads ", threads));
        Lab lab(c);
        for (std::int64_t lo = 0; lo < c.length; lo += chunk) {
            lab.forward(other, lo, std::min(lo + chunk, c.length));
        }
        for (std::int64_t lo = (c.length - 1) / chunk * chunk; lo >= 0; lo -= chunk) {
            lab.backward(other, lo, std::min(lo + chunk, c.length));
        }
        CHECK(same_bits(lab.sum.view(), whole.sum.view()));
        CHECK(same_bits(lab.count.view(), whole.count.view()));
        CHECK(same_bits(lab.dx.view(), whole.dx.view()));
    };
    for (const std::int64_t chunk : {1, 3, 64}) {
        check(run, chunk, 1);
    }
    for (const int threads : thread_counts(backend)) {
        Run parallel(backend, threads);
        check(parallel, 300, threads);
    }
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
}

}  // namespace

TEST_CASE("pool agrees with its reference") {
    for (const Backend& backend : tested_backends()) {
        for (const Case& c : cases()) {
            check_against_reference(c, backend);
        }
    }
}

TEST_CASE("pool's reference backward is the gradient of its forward") {
    for (const ops::PoolMode mode :
         {ops::PoolMode::mean, ops::PoolMode::max, ops::PoolMode::last}) {
        const Case c{2, 9, 3, 2, mode};
        Array x = to_array(normal_tensor({2, 9, 2}, 1, 1).view());
        const Array group = to_array(rising_groups(c).view());
        const Array dy = to_array(normal_tensor({2, 3, 2}, 1, 2).view());
        const auto loss = [&] {
            return inner_product(reference::pool(x, group, 3, mode).value, dy);
        };
        const reference::Pooled pooled = reference::pool(x, group, 3, mode);
        CHECK(relative_error(central_differences(x, loss),
                             reference::pool_grad(x, group, pooled, dy, mode)) < kFiniteDifference);
    }
}

TEST_CASE("pool: groups may span chunks, forward left to right, backward right to left") {
    for (const Backend& backend : tested_backends()) {
        for (const Case& c : cases()) {
            check_chunks(c, backend);
        }
    }
}

TEST_CASE("pool: a NaN stays in its group") {
    for (const Backend& backend : tested_backends()) {
        for (const ops::PoolMode mode : {ops::PoolMode::mean, ops::PoolMode::max}) {
            INFO(backend.name());
            Lab lab({1, 4, 2, 1, mode});
            fill_with(lab.group.view(), 0.0);
            static_cast<std::int32_t*>(lab.group.view().data())[3] = 1;
            fill_with(lab.x.view().slice(1, 1, 2), kNan);
            Run run(backend);
            lab.forward(run, 0, 4);
            const Array sum = to_array(lab.sum.view());
            CHECK(std::isnan(sum(0, 0, 0)));
            CHECK_FALSE(std::isnan(sum(0, 1, 0)));
        }
    }
}

TEST_CASE("pool refuses a group that falls or is past the last") {
    Run run(cpu_backend(cpu::SimdLevel::scalar));
    for (const std::int32_t bad : {0, 3, -2}) {
        Lab lab({1, 3, 3, 2, ops::PoolMode::mean});
        auto* const group = static_cast<std::int32_t*>(lab.group.view().data());
        group[0] = 0;
        group[1] = 1;
        group[2] = bad;
        CHECK_THROWS_WITH(lab.forward(run, 0, 3), Catch::Contains("at position 2 of lane 0"));
        CHECK_THROWS_WITH(lab.backward(run, 0, 3), Catch::Contains("at position 2 of lane 0"));
    }
}
