#include "kernels/ops/cross_entropy.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/cross_entropy.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return backends("cross_entropy", &ops::OpTable::cross_entropy_forward,
                    &ops::OpTable::cross_entropy_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
    std::int64_t batch, length, vocabulary;
    bool has_weight = true;
    std::int64_t support = 0;  // ids 1, 3, 5, …
    double spread = 3.0;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("cross_entropy [", batch, ", ", length, ", ", vocabulary, "]",
                      has_weight ? " weight" : "", " support ", support, " spread ", spread,
                      " seed ", seed, aligned ? "" : " unaligned");
    }
};

struct Lab {
    Case at;
    StridedTensor logits;
    Tensor targets, weight, support;
    Tensor loss, best, loss_sum;
    StridedTensor dlogits;

    explicit Lab(const Case& c)
        : at(c),
          logits(normal_tensor({c.batch, c.length, c.vocabulary}, c.seed, 1, c.spread),
                 at.gap(3),
                 kNan),
          targets(random_ids(
              DType::u8, {c.batch, c.length}, c.support > 0 ? c.support : c.vocabulary, c.seed, 2)),
          weight(normal_tensor({c.batch, c.length}, c.seed, 3)),
          support(filled(DType::u8, {std::max<std::int64_t>(c.support, 1)}, 0.0)),
          loss(filled(DType::f64, {c.batch, c.length}, kNan)),
          best(filled(DType::u8, {c.batch, c.length}, 255.0)),
          loss_sum(filled(DType::f64, {c.batch}, 1.0)),
          dlogits({c.batch, c.length, c.vocabulary}, at.gap(2), kNan) {
        auto* const target = static_cast<std::uint8_t*>(targets.view().data());
        auto* const w = static_cast<float*>(weight.view().data());
        auto* const id = static_cast<std::uint8_t*>(support.view().data());
        for (std::int64_t i = 0; i < c.support; ++i) {
            id[i] = static_cast<std::uint8_t>(2 * i + 1);
        }
        for (std::int64_t i = 0; i < c.batch * c.length; ++i) {
            if (c.support > 0) {
                target[i] = static_cast<std::uint8_t>(2 * target[i] + 1);
            }
            if (w[i] < 0.0F) {  // half of the rows do not count; their targets mean nothing
                w[i] = 0.0F;
                target[i] = c.has_weight ? std::uint8_t{255} : target[i];
            }
        }
    }

    ConstTensorView support_view() const {
        return at.support > 0 ? support.view() : ConstTensorView();
    }
    ConstTensorView weight_view(std::int64_t lo, std::int64_t hi) const {
        return at.has_weight ? weight.view().slice(1, lo, hi) : ConstTensorView();
    }

    void forward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::CrossEntropy op;
        op.logits = logits.view().slice(1, lo, hi);
        op.targets = targets.view().slice(1, lo, hi);
        op.weight = weight_view(lo, hi);
        op.support = support_view();
        op.loss = loss.view().slice(1, lo, hi);
        op.best = best.view().slice(1, lo, hi);
        op.loss_sum = loss_sum.view();
        ops::cross_entropy_forward(run.context(), op);
    }

    void backward(Run& run, std::int64_t lo, std::int64_t hi, double scale) {
        ops::CrossEntropyGrad op;
        op.logits = logits.view().slice(1, lo, hi);
        op.targets = targets.view().slice(1, lo, hi);
        op.weight = weight_view(lo, hi);
        op.scale = scale;
        op.dlogits = dlogits.view().slice(1, lo, hi);
        ops::cross_entropy_backward(run.context(), op);
    }
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::int64_t length : {0, 1, 2, 3, 63, 64, 65, 257}) {
        all.push_back({2, length, 16});
    }
    for (const std::int64_t vocabulary : {1, 2, 5, 8, 15, 17, 255, 256}) {
        all.push_back({1, 20, vocabulary, false});
    }
    all.push_back({2, 30, 16, true, 4});
    all.push_back({2, 30, 16, false, 4});
    all.push_back({1, 30, 256, false, 128});
    all.push_back({1, 30, 16, false, 0, 300.0});
    all.push_back({1, 30, 16, false, 0, 1e4});
    return all;
}

void check_case(const Case& c, const Backend& backend) {
    INFO(replay_line(backend, c.text()));
    Lab lab(c);
    const Array logits = to_array(lab.logits.view());
    const Array targets = to_array(lab.targets.view());
    const Array weight = to_array(lab.weight_view(0, c.length));
    reference::CrossEntropy expected =
        reference::cross_entropy(logits, targets, weight, to_array(lab.support_view()));
    add_to(expected.loss_sum, Array({c.batch}, 1.0));
    const double scale = 0.37;
    Run run(backend);
    lab.forward(run, 0, c.length);
    lab.backward(run, 0, c.length, scale);
    const Errors errors{backend, "cross_entropy"};
    errors.values("loss", lab.loss.view(), expected.loss, kDouble);
    errors.values("best", lab.best.view(), expected.best, 0.0);
    errors.values("loss_sum", lab.loss_sum.view(), expected.loss_sum, kDouble);
    errors.values("dlogits", lab.dlogits.view(),
                  reference::cross_entropy_grad(logits, targets, weight, scale),
                  activation_gradient_bound(backend));
    CHECK(lab.dlogits.gaps_untouched());
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
}

void check_chunks(const Case& c, const Backend& backend, std::int64_t chunk, int threads) {
    INFO(replay_line(backend, c.text(), " chunk ", chunk, " threads ", threads));
    Run run(backend);
    Lab whole(c);
    whole.forward(run, 0, c.length);
    whole.backward(run, 0, c.length, 0.5);
    Run other(backend, threads);
    Lab lab(c);
    for (std::int64_t lo = 0; lo < c.length; lo += chunk) {
        lab.forward(other, lo, std::min(lo + chunk, c.length));
        lab.backward(other, lo, std::min(lo + chunk, c.length), 0.5);
    }
    CHECK(same_bits(lab.loss.view(), whole.loss.view()));
    CHECK(same_bits(lab.best.view(), whole.best.view()));
    CHECK(same_bits(lab.dlogits.view(), whole.dlogits.view()));
    // On a device sums are those of tiles: one chain of additions would be too long.
    if (!backend.is_device || chunk % backend.table->gradient_tile == 0 || chunk >= c.length) {
        CHECK(same_bits(lab.loss_sum.view(), whole.loss_sum.view()));
    }
}

}  // namespace

TEST_CASE("cross_entropy agrees with its reference") {
    for (const Backend& backend : tested_backends()) {
        for (const Case& c : cases()) {
            check_against_reference(c, backend);
        }
    }
}

TEST_CASE("cross_entropy's reference backward is the gradient of its forward") {
    Array logits = to_array(normal_tensor({2, 3, 5}, 1, 1).view());
    const Array targets = to_array(random_ids(DType::u8, {2, 3}, 5, 1, 2).view());
    const Array weight = to_array(normal_tensor({2, 3}, 1, 3).view());
    const auto loss = [&] {
        const Array sums = reference::cross_entropy(logits, targets, weight, {}).loss_sum;
        return 0.37 * (sums(0) + sums(1));
    };
    CHECK(relative_error(central_differences(logits, loss),
                         reference::cross_entropy_grad(logits, targets, weight, 0.37)) <
          kFiniteDifference);
}

TEST_CASE("cross_entropy has the same bits at every chunk length and number of threads") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        for (const std::int64_t chunk : {1, 3, 64, 256}) {
            check_chunks({2, 600, 16}, backend, chunk, 1);
        }
        check_chunks({2, 2 * tile + 88, 16}, backend, tile, 1);
        for (const int threads : thread_counts(backend)) {
            check_chunks({2, 600, 16}, backend, 600, threads);
        }
    }
}

TEST_CASE("cross_entropy: dlogits may be logits, and every output may be absent") {
    const Case c{2, 40, 16};
    // logits are always f32, so that dlogits in bf16 cannot be the same memory
    for (const Backend& backend : in_f32(tested_backends())) {
        Run run(backend);
        Lab apart(c);
        apart.forward(run, 0, c.length);
        apart.backward(run, 0, c.length, 2.0);
        Lab sum_only(c);
        ops::CrossEntropy forward;
        forward.logits = sum_only.logits.view();
        forward.targets = sum_only.targets.view();
        forward.weight = sum_only.weight.view();
        forward.loss_sum = sum_only.loss_sum.view();
        ops::cross_entropy_forward(run.context(), forward);
        CHECK(same_bits(sum_only.loss_sum.view(), apart.loss_sum.view()));
        ops::CrossEntropyGrad backward;
        backward.logits = forward.logits;
        backward.targets = forward.targets;
        backward.weight = forward.weight;
        backward.scale = 2.0;
        backward.dlogits = sum_only.logits.view();
        ops::cross_entropy_backward(run.context(), backward);
        CHECK(same_bits(sum_only.logits.view(), apart.dlogits.view()));
    }
}

TEST_CASE("cross_entropy: of equal logits the first is best, a NaN reaches the loss") {
    for (const Backend& backend : tested_backends()) {
        Run run(backend);
        Lab lab({1, 2, 8, false});
        fill_with(lab.logits.view(), 1.0);
        fill_with(lab.logits.view().slice(1, 1, 2).slice(2, 5, 6), kNan);
        lab.forward(run, 0, 2);
        const Array loss = to_array(lab.loss.view());
        CHECK(to_array(lab.best.view())(0, 0) == 0.0);
        CHECK(loss(0, 0) == Approx(std::log(8.0)).epsilon(1e-15));
        CHECK(std::isnan(loss(0, 1)));
    }
}

TEST_CASE("cross_entropy refuses a target that is not among the classes") {
    Run run(cpu_backend(cpu::SimdLevel::scalar));
    Lab past({1, 4, 8, false});
    static_cast<std::uint8_t*>(past.targets.view().data())[2] = 8;
    CHECK_THROWS_WITH(past.forward(run, 0, 4), Catch::Contains("target 8 at position 2"));
    CHECK_THROWS_WITH(past.backward(run, 0, 4, 1.0), Catch::Contains("target 8 at position 2"));
    Lab outside({1, 4, 16, false, 4});
    static_cast<std::uint8_t*>(outside.targets.view().data())[1] = 2;
    CHECK_THROWS_WITH(outside.forward(run, 0, 4), Catch::Contains("target 2 at position 1"));
    Lab wide({1, 4, 8, false, 2});
    static_cast<std::uint8_t*>(wide.support.view().data())[1] = 8;
    CHECK_THROWS_WITH(wide.forward(run, 0, 4), Catch::Contains("support has the id 8"));
}
