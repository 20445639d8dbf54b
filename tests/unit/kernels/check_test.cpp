// What the ops say about arguments that do not fit: op and field named, what was expected, what
// came.
#include "base/error.hpp"
#include "kernels/ops/op_table.hpp"
#include "tests/support/tensor_tools.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;
using Catch::Contains;

namespace {

/// Tensors of every kind that the cases below hand to the ops; contents do not matter.
struct Tensors {
    Tensor x = filled(DType::f32, {2, 3, 4}, 0.0);
    Tensor y = filled(DType::f32, {2, 3, 5}, 0.0);
    Tensor weight = filled(DType::f32, {5, 4}, 0.0);
    Tensor dweight = filled(DType::f64, {5, 4}, 0.0);
    Tensor scale = filled(DType::f32, {4}, 0.0);
    Tensor ids = filled(DType::u8, {2, 3}, 0.0);
    Tensor rows = filled(DType::f32, {2, 3}, 0.0);
    Tensor group = filled(DType::i32, {2, 3}, 0.0);
    Tensor sum = filled(DType::f64, {2, 7, 4}, 0.0);
    Tensor count = filled(DType::i64, {2, 7}, 0.0);
    Tensor flat = filled(DType::f32, {6}, 0.0);
    Tensor flat64 = filled(DType::f64, {6}, 0.0);
    Tensor one = filled(DType::f64, {1}, 0.0);
};

template <class Op>
std::string complaint(const Op& op, ErrorCode code = ErrorCode::shape) {
    try {
        ops::check(op);
    } catch (const Error& error) {
        CHECK(error.code() == code);
        return error.what();
    }
    return "no complaint";
}

}  // namespace

TEST_CASE("linear names the field that does not fit") {
    Tensors t;
    ops::Linear op{t.x.view(), t.weight.view(), {}, t.y.view()};
    CHECK(complaint(op) == "no complaint");
    op.x = {};
    CHECK(complaint(op) == "linear: x is missing");
    op.x = t.rows.view();
    CHECK(complaint(op) == "linear: x is [2, 3], expected 3 dimensions");
    op.x = t.x.view();
    op.y = t.x.view();
    CHECK(complaint(op) == "linear: y is [2, 3, 4] of f32, expected [2, 3, 5] of f32");
    op.y = t.y.view();
    op.bias = t.scale.view();
    CHECK(complaint(op) == "linear: bias is [4] of f32, expected [5] of f32");
    op.bias = {};
    Tensor wide = filled(DType::f32, {5, 8}, 0.0);
    op.weight = wide.view().slice(1, 0, 4);
    CHECK(complaint(op) == "linear: weight has gaps between its rows or elements");

    ops::LinearGrad grad;
    grad.x = t.x.view();
    grad.weight = t.weight.view();
    grad.dy = t.y.view();
    grad.dweight = t.weight.view();
    CHECK(complaint(grad) == "linear backward: dweight is [5, 4] of f32, expected [5, 4] of f64");
    grad.dweight = t.dweight.view();
    CHECK(complaint(grad) == "no complaint");
    grad.dx = t.y.view();
    CHECK_THAT(complaint(grad), Contains("dx is [2, 3, 5]"));
}

TEST_CASE("rms_norm wants rows, or a table that ids pick rows of") {
    Tensors t;
    ops::RmsNorm op;
    op.residual_in = t.x.view();
    op.weight = t.scale.view();
    op.y = t.x.view();
    CHECK(complaint(op) == "no complaint");
    op.hidden = t.x.view();
    CHECK(complaint(op) == "no complaint");
    op.ids = t.ids.view();
    CHECK_THAT(complaint(op), Contains("residual_in"));
    ops::RmsNormGrad grad;
    grad.residual_out = t.x.view();
    grad.weight = t.scale.view();
    CHECK(complaint(grad) == "rms_norm backward: rstd is missing");
}

TEST_CASE("embedding wants bytes for ids") {
    Tensors t;
    CHECK_THAT(complaint(ops::Embedding{t.group.view(), t.weight.view(), t.x.view()}),
               Contains("ids is [2, 3] of i32, expected [2, 3] of u8"));
    CHECK(complaint(ops::Embedding{t.ids.view(), t.weight.view(), t.x.view()}) == "no complaint");
    CHECK_THAT(complaint(ops::EmbeddingGrad{t.ids.view(), t.y.view(), t.dweight.view()}),
               Contains("dy is [2, 3, 5]"));
}

TEST_CASE("cross_entropy wants a vocabulary that bytes can name") {
    Tensors t;
    ops::CrossEntropy op;
    op.logits = t.x.view();
    op.targets = t.ids.view();
    CHECK(complaint(op) == "no complaint");
    Tensor wide = filled(DType::f32, {2, 3, 257}, 0.0);
    op.logits = wide.view();
    CHECK_THAT(complaint(op), Contains("a vocabulary of 257, expected 1 to 256"));
    op.logits = t.x.view();
    Tensor support = filled(DType::u8, {5}, 0.0);
    op.support = support.view();
    CHECK_THAT(complaint(op), Contains("support has 5 ids, expected 1 to 4"));
    ops::CrossEntropyGrad grad;
    grad.logits = t.x.view();
    grad.targets = t.ids.view();
    CHECK(complaint(grad) == "cross_entropy backward: dlogits is missing");
}

TEST_CASE("pool wants sums in f64 and counts beside them") {
    Tensors t;
    ops::Pool op;
    op.x = t.x.view();
    op.group = t.group.view();
    op.sum = t.sum.view();
    CHECK(complaint(op) == "pool: count is missing");
    op.count = t.count.view();
    CHECK(complaint(op) == "no complaint");
    op.group = t.ids.view();
    CHECK_THAT(complaint(op), Contains("group is [2, 3] of u8, expected [2, 3] of i32"));
    ops::PoolGrad grad;
    grad.x = t.x.view();
    grad.group = t.group.view();
    grad.sum = t.sum.view();
    grad.count = t.count.view();
    grad.dx = t.x.view();
    CHECK(complaint(grad) == "pool backward: dy is missing");
}

TEST_CASE("elementwise ops know which types they have") {
    Tensors t;
    CHECK(complaint(ops::Cast{t.flat.view(), t.flat64.view()}) == "no complaint");
    CHECK_THAT(complaint(ops::Cast{t.ids.view(), t.rows.view()}, ErrorCode::unsupported),
               Contains("from u8 to f32"));
    CHECK_THAT(complaint(ops::Cast{t.flat.view(), t.one.view()}),
               Contains("y is [1] of f64, expected [6] of f64"));
    CHECK(complaint(ops::Fill{}) == "fill: y is missing");
    CHECK(complaint(ops::NormSq{t.ids.view().reshape({6}), t.one.view()}) ==
          "norm_sq: x is of u8, expected f32 or f64");
}

TEST_CASE("adamw counts steps from 1") {
    Tensors t;
    ops::AdamW op;
    op.parts = {{t.flat.view(), t.flat.view(), t.flat.view(), t.flat64.view()}};
    CHECK(complaint(op) == "no complaint");
    op.step = 0;
    CHECK_THAT(complaint(op, ErrorCode::usage), Contains("step is 0"));
    op.step = 1;
    op.parts.front().grad = t.flat.view();
    CHECK_THAT(complaint(op), Contains("grad is [6] of f32, expected [6] of f64"));
}

TEST_CASE("an op that a backend lacks is named with the backend") {
    ops::OpTable empty{};
    empty.name = "nothing";
    ThreadPool pool(1);
    StepMemory step(host_allocator());
    ops::Context context(empty, pool, step);
    Tensors t;
    CHECK_THROWS_WITH(ops::fill(context, {t.flat.view(), 0.0}),
                      "fill is not available on the backend nothing");
    CHECK_THROWS_WITH(ops::fill(context, {}), "fill: y is missing");
}

TEST_CASE("a device that this build may have no backend for") {
    const Device device{Device::Kind::cuda, 0};
    if (ops::has_backend(device.kind)) {
        CHECK(std::string(ops::op_table(device).name) == "cuda");
    } else {
        CHECK_THROWS_AS(ops::op_table(device), Error);
    }
}
