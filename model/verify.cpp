#include "model/verify.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/safetensors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <vector>

namespace mambase::model {

namespace {

constexpr double kLogitsBound = 2e-5;
constexpr double kLossBound = 1e-6;
constexpr double kHiddenBound = 2e-5;
constexpr double kGradientBound = 1e-4;
constexpr std::string_view kGradient = "grad.";

std::string scientific(double value) {
    std::array<char, 64> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                   std::chars_format::scientific, 2);
    return {text.data(), end.ptr};
}

/// The files' own sizes are checked before anything is taken from them.
class Comparison {
  public:
    Comparison(ops::Context& context, const Model& model, const std::string& path);
    std::vector<VerifyLine> run();

  private:
    TensorView take(DType dtype, const Shape& shape) { return context_.host.take(dtype, shape); }
    /// Of the device, for what the model is to write.
    TensorView result(const Shape& shape) { return context_.step.take(DType::f32, shape); }
    ConstTensorView read(const std::string& name, const Shape& shape);
    StateBank fresh_states() { return {model_.config(), batch_, context_.queue}; }
    double mean_loss(ConstTensorView logits) const;
    void compare_logits();
    void compare_hidden();
    void compare_gradients();

    ops::Context& context_;
    const Model& model_;
    const SafetensorsFile file_;
    const StepMemory::Scope device_scope_;
    const StepMemory::Scope host_scope_;
    std::int64_t batch_ = 0;
    std::int64_t length_ = 0;
    TensorView ids_;            // [B,L] u8
    ConstTensorView sequence_;  // the same where the model reads it
    std::vector<VerifyLine> lines_;
};

Comparison::Comparison(ops::Context& context, const Model& model, const std::string& path)
    : context_(context),
      model_(model),
      file_(path),
      device_scope_(context.step),
      host_scope_(context.host) {
    const Shape shape = file_.at("input_ids").shape;
    if (shape.rank() != 2 || shape[0] < 1 || shape[1] < 2) {
        throw Error(ErrorCode::format,
                    concat("tensor input_ids is ", shape.text(), ", not [B, L] with L over 1"))
            .at(path);
    }
    batch_ = shape[0];
    length_ = shape[1];
    const TensorView wide = take(DType::i64, shape);
    file_.read("input_ids", wide);
    ids_ = take(DType::u8, shape);
    const auto* const from = static_cast<const std::int64_t*>(wide.data());
    auto* const to = static_cast<std::uint8_t*>(ids_.data());
    for (std::int64_t i = 0; i < shape.count(); ++i) {
        if (from[i] < 0 || from[i] >= model.config().vocab_size) {
            throw Error(ErrorCode::format, concat("tensor input_ids has ", from[i], " at element ",
                                                  i, ", not below ", model.config().vocab_size))
                .at(path);
        }
        to[i] = static_cast<std::uint8_t>(from[i]);
    }
    sequence_ = ops::on_device(context, ids_);
}

ConstTensorView Comparison::read(const std::string& name, const Shape& shape) {
    const TensorView out = take(DType::f32, shape);
    file_.read(name, out);
    return out;
}

/// max|a−b| and max|a−b| / max|b|; a NaN anywhere gives NaN, which is past every bound.
VerifyLine largest_difference(std::string what, ConstTensorView ours, ConstTensorView theirs) {
    const auto* const a = static_cast<const float*>(ours.data());
    const auto* const b = static_cast<const float*>(theirs.data());
    double difference = 0.0;
    double size = 0.0;
    for (std::int64_t i = 0; i < ours.count(); ++i) {
        const double apart = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        difference = apart <= difference ? difference : apart;
        size = std::max(size, std::abs(static_cast<double>(b[i])));
        if (std::isnan(apart)) {
            break;
        }
    }
    VerifyLine line;
    line.what = std::move(what);
    line.max_abs = difference;
    line.relative = difference == 0.0 ? 0.0 : difference / size;
    return line;
}

/// max|a−b| and ‖a−b‖ / ‖b‖.
VerifyLine norm_of_difference(std::string what, ConstTensorView ours, ConstTensorView theirs) {
    const auto* const a = static_cast<const double*>(ours.data());
    const auto* const b = static_cast<const float*>(theirs.data());
    double largest = 0.0;
    double difference = 0.0;
    double size = 0.0;
    for (std::int64_t i = 0; i < ours.count(); ++i) {
        const double apart = a[i] - static_cast<double>(b[i]);
        largest = std::max(largest, std::abs(apart));
        difference += apart * apart;
        size += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    VerifyLine line;
    line.what = std::move(what);
    line.max_abs = largest;
    line.relative = difference == 0.0 ? 0.0 : std::sqrt(difference / size);
    return line;
}

VerifyLine judged(VerifyLine line, double bound, bool bounds_relative) {
    line.bound = bound;
    line.bounds_relative = bounds_relative;
    line.ok = (bounds_relative ? line.relative : line.max_abs) <= bound;
    return line;
}

/// Of the next ids, in double precision.
double Comparison::mean_loss(ConstTensorView logits) const {
    const auto scores = logits.as<const float, 3>();
    const auto ids = ids_.as<std::uint8_t, 2>();
    const std::int64_t vocab = scores.extent[2];
    double sum = 0.0;
    for (std::int64_t lane = 0; lane < batch_; ++lane) {
        for (std::int64_t t = 0; t + 1 < length_; ++t) {
            const float* const row = &scores(lane, t);
            const double top = static_cast<double>(*std::max_element(row, row + vocab));
            double total = 0.0;
            for (std::int64_t id = 0; id < vocab; ++id) {
                total += std::exp(static_cast<double>(row[id]) - top);
            }
            sum += top + std::log(total) - static_cast<double>(row[ids(lane, t + 1)]);
        }
    }
    return sum / static_cast<double>(batch_ * (length_ - 1));
}

void Comparison::compare_logits() {
    const std::string name = file_.find("logits64") != nullptr ? "logits64" : "logits";
    if (file_.find(name) == nullptr) {
        return;
    }
    const Shape shape{batch_, length_, model_.config().vocab_size};
    const ConstTensorView theirs = read(name, shape);
    const TensorView logits = result(shape);
    StateBank states = fresh_states();
    forward_logits(context_, model_, {sequence_, {}, {}}, states, logits);
    const ConstTensorView ours = ops::on_host(context_, logits);
    const std::string against = name == "logits" ? "" : concat(" (against ", name, ")");
    lines_.push_back(
        judged(largest_difference("logits" + against, ours, theirs), kLogitsBound, false));
    const double expected = mean_loss(theirs);
    VerifyLine loss;
    loss.what = "loss" + against;
    loss.max_abs = std::abs(mean_loss(ours) - expected);
    loss.relative = loss.max_abs / expected;
    lines_.push_back(judged(std::move(loss), kLossBound, false));
}

void Comparison::compare_hidden() {
    const std::int64_t layers = model_.config().n_layer;
    const Shape shape{batch_, length_, model_.config().d_model};
    for (std::int64_t layer = 0; layer <= layers; ++layer) {
        const std::string name = concat("hidden.", layer);
        if (file_.find(name) == nullptr) {
            continue;
        }
        const StepMemory::Scope device_scope(context_.step);
        const StepMemory::Scope host_scope(context_.host);
        const ConstTensorView theirs = read(name, shape);
        const TensorView hidden = result(shape);
        StateBank states = fresh_states();
        forward_hidden(context_, model_, {sequence_, {}, {}}, states,
                       layer == layers ? kLastLayer : layer + 1, hidden);
        lines_.push_back(judged(largest_difference(name, ops::on_host(context_, hidden), theirs),
                                kHiddenBound, true));
    }
}

void Comparison::compare_gradients() {
    const std::vector<SafetensorsEntry>& entries = file_.entries();
    if (std::none_of(entries.begin(), entries.end(), [](const SafetensorsEntry& entry) {
            return entry.name.starts_with(kGradient);
        })) {
        return;
    }
    const TensorView weight = take(DType::f32, {batch_, length_ - 1});
    std::fill_n(static_cast<float*>(weight.data()), weight.count(), 1.0F);
    Gradients gradients(model_, context_.queue);
    StateBank states = fresh_states();
    training_step(context_, model_,
                  {sequence_.slice(1, 0, length_ - 1), sequence_.slice(1, 1, length_),
                   ops::on_device(context_, weight)},
                  length_, 1.0 / static_cast<double>(weight.count()), states, gradients);
    for (const SafetensorsEntry& entry : entries) {
        if (!entry.name.starts_with(kGradient)) {
            continue;
        }
        const std::string name = entry.name.substr(kGradient.size());
        const auto param = std::find_if(model_.params().begin(), model_.params().end(),
                                        [&](const Param& each) { return each.name == name; });
        if (param == model_.params().end()) {
            throw Error(ErrorCode::format,
                        concat("tensor ", entry.name, " is of no parameter of the model"))
                .at(file_.path());
        }
        const StepMemory::Scope scope(context_.host);
        const ConstTensorView theirs = read(entry.name, param->shape);
        const auto index = static_cast<std::size_t>(param - model_.params().begin());
        lines_.push_back(judged(
            norm_of_difference(entry.name, ops::on_host(context_, gradients.of(index)), theirs),
            kGradientBound, true));
    }
}

std::vector<VerifyLine> Comparison::run() {
    compare_logits();
    compare_hidden();
    compare_gradients();
    return std::move(lines_);
}

}  // namespace

bool VerifyReport::ok() const {
    return std::all_of(lines.begin(), lines.end(), [](const VerifyLine& line) { return line.ok; });
}

std::string VerifyReport::text() const {
    std::string out = summary;
    for (const VerifyLine& line : lines) {
        out +=
            concat(line.ok ? "ok    " : "FAIL  ", line.what, ": largest difference ",
                   scientific(line.max_abs), ", relative ", scientific(line.relative), " (bound ",
                   scientific(line.bound), line.bounds_relative ? " relative)\n" : ")\n");
    }
    return out;
}

VerifyReport verify(ops::Context& context, const std::string& dir, const std::string& expected) {
    Model model = Model::load(dir, host_allocator());
    VerifyReport report;
    report.summary = concat("ok    ", dir, ": ", model.params().size(), " tensors, ",
                            format_count(model.params().count()),
                            " values, header, shapes and finiteness; sha256 ", model.hash(), "\n");
    if (!expected.empty()) {
        report.lines =
            Comparison(context, std::move(model).on_device(context.queue), expected).run();
    }
    return report;
}

}  // namespace mambase::model
