// What `bench` times: the ops as one layer calls them, and the model's matrix products alone.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/config.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// Owner of the tensors of a benchmark, filled with the same small values each time.
class Tensors {
  public:
    explicit Tensors(std::uint64_t seed) : seed_(seed) {}

    TensorView f32(const Shape& shape);
    /// Zeros, f64: for the gradient of a parameter.
    TensorView sums(const Shape& shape);
    /// u8, the id of A.
    TensorView ids(const Shape& shape);

  private:
    TensorView make(DType dtype, const Shape& shape);

    std::uint64_t seed_;
    std::vector<Tensor> tensors_;
};

/// One product of the model and its gradients.
struct Product {
    Product(Tensors& from, std::int64_t rows, std::int64_t in, std::int64_t out)
        : x(from.f32({1, rows, in})),
          weight(from.f32({out, in})),
          y(from.f32({1, rows, out})),
          dx(from.f32({1, rows, in})),
          dweight(from.sums({out, in})) {}

    void forward(ops::Context& context) const {
        ops::linear_forward(context, {.x = x, .weight = weight, .bias = {}, .y = y});
    }
    void backward(ops::Context& context) const {
        ops::linear_backward(
            context,
            {.x = x, .weight = weight, .dy = y, .dx = dx, .dweight = dweight, .dbias = {}});
    }
    /// Of the forward; the backward takes twice as many.
    double flops() const {
        return 2.0 * static_cast<double>(x.count()) * static_cast<double>(weight.extent(0));
    }

    TensorView x, weight, y, dx, dweight;
};

/// The four products of a layer, and the head's.
struct Products {
    Products(const model::ModelConfig& config, std::int64_t rows, std::uint64_t seed)
        : tensors(seed),
          in_proj(tensors, rows, config.d_model, 2 * config.d_inner),
          x_proj(tensors, rows, config.d_inner, config.dt_rank + 2 * config.d_state),
          dt_proj(tensors, rows, config.dt_rank, config.d_inner),
          out_proj(tensors, rows, config.d_inner, config.d_model),
          head(tensors, rows, config.d_model, config.vocab_size),
          layers(config.n_layer) {}

    std::vector<const Product*> of_layer() const {
        return {&in_proj, &x_proj, &dt_proj, &out_proj};
    }
    void layer_forward(ops::Context& context) const {
        for (const Product* product : of_layer()) {
            product->forward(context);
        }
    }
    void layer_backward(ops::Context& context) const {
        for (const Product* product : of_layer()) {
            product->backward(context);
        }
    }
    void forward(ops::Context& context) const {
        for (std::int64_t layer = 0; layer < layers; ++layer) {
            layer_forward(context);
        }
        head.forward(context);
    }
    void step(ops::Context& context) const {
        forward(context);
        head.backward(context);
        for (std::int64_t layer = 0; layer < layers; ++layer) {
            layer_backward(context);
        }
    }
    double layer_flops() const {
        double sum = 0.0;
        for (const Product* product : of_layer()) {
            sum += product->flops();
        }
        return sum;
    }
    double flops() const { return static_cast<double>(layers) * layer_flops() + head.flops(); }

    Tensors tensors;
    Product in_proj, x_proj, dt_proj, out_proj, head;
    std::int64_t layers;
};

/// An op as one layer calls it.
struct OpBench {
    std::string name;
    double flops = 0.0;  // of its products, forward
    std::function<void(ops::Context&)> forward;
    std::function<void(ops::Context&)> backward;  // empty: has none
};

/// All ops of a layer, and embedding, head and loss, on one lane of `rows` positions. `from` and
/// `products` have to outlive them.
std::vector<OpBench> op_benches(Tensors& from,
                                const Products& products,
                                const model::ModelConfig& config,
                                std::int64_t rows,
                                ops::Context& context);

}  // namespace mambase::pipelines
