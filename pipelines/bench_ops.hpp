// What `bench` times: the ops as one layer calls them, and the model's matrix products alone.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/ops/selective_scan.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/config.hpp"
#include "model/model.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// Owner of the tensors of a benchmark, on the context's device. One small block of random numbers
/// is made on the host and copied over and over.
class Tensors {
  public:
    Tensors(ops::Context& context, std::uint64_t seed);

    /// Uniform within ±0.5, f32 or in the type of the context's activations.
    TensorView f32(const Shape& shape) { return filled(shape, block_); }
    TensorView activations(const Shape& shape) { return filled(shape, narrow_block_); }
    /// Zeros, f64: for the gradient of a parameter.
    TensorView sums(const Shape& shape);
    /// u8: ids of A, C, G and T.
    TensorView ids(const Shape& shape) { return filled(shape, ids_); }
    /// u8, undefined.
    TensorView bytes(std::int64_t count);

  private:
    TensorView make(DType dtype, const Shape& shape);
    TensorView filled(const Shape& shape, TensorView block);

    ops::Context& context_;
    std::vector<Tensor> tensors_;
    TensorView block_;         // [kBlock] f32
    TensorView narrow_block_;  // the same in the type of the activations
    TensorView ids_;           // [kBlock] u8
};

/// An op as one layer calls it.
struct OpBench {
    std::string name;
    double flops = 0.0;           // of its products, forward; the backward takes twice as many
    double forward_bytes = 0.0;   // that have to be read and written at least
    double backward_bytes = 0.0;  //
    std::function<void(ops::Context&)> forward;
    std::function<void(ops::Context&)> backward;
};

/// One layer, embedding, head and loss over `lanes` lanes of `length` positions, with the weights
/// of the first layer of `model`, which outlives it. Values are those of a forward pass.
class LayerBench {
  public:
    LayerBench(ops::Context& context,
               const model::Model& model,
               std::int64_t lanes,
               std::int64_t length,
               std::uint64_t seed);

    const std::vector<OpBench>& ops() const noexcept { return ops_; }
    /// The four products of the layer.
    void products_forward(ops::Context& context) const;
    void products_backward(ops::Context& context) const;
    /// The products of the whole model: of all layers and the head.
    void model_products_forward(ops::Context& context) const;
    void model_products_step(ops::Context& context) const;
    /// Multiplications and additions of model_products_forward; the step takes three times as many.
    double model_flops() const;

    /// The scan's forward over the first `lanes` lanes and `length` positions, keeping nothing.
    ops::SelectiveScan scan(std::int64_t lanes, std::int64_t length) const;

    /// Bytes of the tensors of a LayerBench.
    static std::int64_t bytes(const ops::Context& context,
                              const model::ModelConfig& config,
                              std::int64_t lanes,
                              std::int64_t length);

  private:
    void add_embedding_and_norm(const model::Model& model);
    void add_product(const std::string& name,
                     ConstTensorView weight,
                     TensorView x,
                     TensorView y,
                     TensorView dx,
                     TensorView dy,
                     bool add_to_dx = false);
    void add_conv(const model::Model& model);
    void add_scan(ops::Context& context, const model::Model& model);
    void add_loss();

    model::ModelConfig config_;
    Shape rows_;  // [B,T]
    Tensors from_;
    TensorView ids_, residual_, normed_, xz_, u_, x_dbl_, dt_raw_, gated_, added_, logits_;
    TensorView dstream_, dadded_, dnormed_, dxz_, du_, dx_dbl_, ddt_raw_, dgated_, dlogits_;
    ops::SelectiveScan scan_;
    std::vector<OpBench> ops_;
};

}  // namespace mambase::pipelines
