#include "model/adamw.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/adamw.hpp"

#include <cmath>

namespace mambase::model {

namespace {

Tensor zeros_like(const Param& param, DeviceQueue& queue) {
    Tensor out(queue.memory(), DType::f32, param.shape, "moment of " + param.name);
    zero(queue, out.view());
    return out;
}

}  // namespace

void AdamWOptions::validate() const {
    std::string problems;
    const auto require = [&](bool holds, std::string_view rule) {
        if (!holds) {
            problems += concat(problems.empty() ? "" : "; ", rule);
        }
    };
    require(beta1 >= 0.0 && beta1 < 1.0, "beta1 is not within 0 to 1 (exclusive)");
    require(beta2 >= 0.0 && beta2 < 1.0, "beta2 is not within 0 to 1 (exclusive)");
    require(eps > 0.0 && std::isfinite(eps), "eps is not positive");
    require(weight_decay >= 0.0 && std::isfinite(weight_decay), "the weight decay is negative");
    require(clip >= 0.0 && std::isfinite(clip), "clip is negative");
    MAMBASE_REQUIRE(problems.empty(), ErrorCode::usage, problems);
}

AdamW::AdamW(const Model& model, const AdamWOptions& options, DeviceQueue& queue)
    : options_(options) {
    options.validate();
    for (const Param& param : model.params()) {
        m_.push_back(zeros_like(param, queue));
        v_.push_back(zeros_like(param, queue));
    }
}

double AdamW::step(ops::Context& context, Model& model, const Gradients& gradients, double lr) {
    const double norm = gradients.norm(context);
    MAMBASE_REQUIRE(
        std::isfinite(norm), ErrorCode::format,
        concat("the gradient of step ", steps_ + 1, " is not finite: the model has diverged"));
    ++steps_;
    const bool clipped = options_.clip > 0.0 && norm > options_.clip;
    ops::AdamW op;
    for (std::size_t i = 0; i < model.params().size(); ++i) {
        Param& param = model.params()[i];
        if (param.frozen) {
            continue;
        }
        const Shape flat{param.shape.count()};
        op.parts.push_back({.param = param.value.view().reshape(flat),
                            .m = m_[i].view().reshape(flat),
                            .v = v_[i].view().reshape(flat),
                            .grad = gradients.of(i).reshape(flat),
                            .weight_decay = param.decay ? options_.weight_decay : 0.0});
    }
    op.grad_scale = clipped ? options_.clip / norm : 1.0;
    op.lr = lr;
    op.beta1 = options_.beta1;
    op.beta2 = options_.beta2;
    op.eps = options_.eps;
    op.step = steps_;
    ops::adamw(context, op);
    return norm;
}

}  // namespace mambase::model
