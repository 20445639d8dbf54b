#include "model/state_bank.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/elementwise.hpp"

#include <bit>
#include <cmath>

namespace mambase::model {

namespace {

constexpr std::uint32_t kExponent = 0x7F800000U;  // all ones in a NaN or an infinity

template <class AnyView>
AnyView part(AnyView values, std::int64_t begin, const Shape& shape) {
    return values.slice(0, begin, begin + shape.count()).reshape(shape);
}

bool is_finite(ConstTensorView view) {
    const auto* const values = static_cast<const float*>(view.data());
    const std::int64_t count = view.count();
    bool finite = true;
    for (std::int64_t i = 0; i < count; ++i) {
        finite &= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) != kExponent;
    }
    return finite;
}

}  // namespace

StateLayout::StateLayout(const ModelConfig& config, std::int64_t lanes)
    : lanes_(lanes),
      layers_(config.n_layer),
      conv_shape_{lanes, config.d_conv - 1, config.d_inner},
      ssm_shape_{lanes, config.d_inner, config.d_state},
      conv_count_(conv_shape_.count()),
      ssm_count_(ssm_shape_.count()) {
    MAMBASE_REQUIRE(lanes >= 1, ErrorCode::shape, "states of no lane were asked for");
}

TensorView StateLayout::conv(TensorView values, std::int64_t layer) const {
    return part(values, layer * (conv_count_ + ssm_count_), conv_shape_);
}

ConstTensorView StateLayout::conv(ConstTensorView values, std::int64_t layer) const {
    return part(values, layer * (conv_count_ + ssm_count_), conv_shape_);
}

TensorView StateLayout::ssm(TensorView values, std::int64_t layer) const {
    return part(values, layer * (conv_count_ + ssm_count_) + conv_count_, ssm_shape_);
}

ConstTensorView StateLayout::ssm(ConstTensorView values, std::int64_t layer) const {
    return part(values, layer * (conv_count_ + ssm_count_) + conv_count_, ssm_shape_);
}

StateBank::StateBank(const ModelConfig& config, std::int64_t lanes, DeviceQueue& queue)
    : layout_(config, lanes),
      queue_(&queue),
      values_(queue.memory(), DType::f32, {layout_.count()}, "states") {
    reset();
}

void StateBank::reset(std::int64_t lane) {
    for (std::int64_t layer = 0; layer < layout_.layers(); ++layer) {
        zero(*queue_, conv(layer).slice(0, lane, lane + 1));
        zero(*queue_, ssm(layer).slice(0, lane, lane + 1));
    }
}

void StateBank::reset() {
    zero(*queue_, values_.view());
}

void StateBank::copy_lane(std::int64_t lane, const StateBank& from, std::int64_t lane_from) {
    const auto one = [](auto view, std::int64_t at) { return view.slice(0, at, at + 1); };
    for (std::int64_t layer = 0; layer < layout_.layers(); ++layer) {
        copy(*queue_, one(from.layout().conv(from.values(), layer), lane_from),
             one(conv(layer), lane));
        copy(*queue_, one(from.layout().ssm(from.values(), layer), lane_from),
             one(ssm(layer), lane));
    }
}

void StateBank::snapshot(TensorView out) const {
    copy(*queue_, values(), out);
}

void StateBank::restore(ConstTensorView in) {
    copy(*queue_, in, values_.view());
}

void StateBank::require_finite(ops::Context& context) const {
    const StepMemory::Scope device_scope(context.step);
    const StepMemory::Scope host_scope(context.host);
    const TensorView sum = context.step.take(DType::f64, {1});
    ask_sum(context, sum);
    require_finite(context, *static_cast<const double*>(ops::on_host(context, sum).data()));
}

void StateBank::ask_sum(ops::Context& context, TensorView sum) const {
    ops::norm_sq(context, {.x = values(), .sum = sum});
}

void StateBank::require_finite(ops::Context& context, double sum) const {
    if (std::isfinite(sum)) {
        return;
    }
    const StepMemory::Scope host_scope(context.host);
    const ConstTensorView bad = ops::on_host(context, values());
    for (std::int64_t layer = 0; layer < layout_.layers(); ++layer) {
        for (std::int64_t lane = 0; lane < lanes(); ++lane) {
            MAMBASE_REQUIRE(is_finite(layout_.conv(bad, layer).slice(0, lane, lane + 1)) &&
                                is_finite(layout_.ssm(bad, layer).slice(0, lane, lane + 1)),
                            ErrorCode::format,
                            concat("the state of layer ", layer, " in lane ", lane,
                                   " is no longer finite: the model has diverged, or its weights "
                                   "do not suit this input"));
        }
    }
}

}  // namespace mambase::model
