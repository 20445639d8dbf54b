#include "pipelines/selftest.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/state_bank.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/selftest_cases.hpp"
#include "pipelines/selftest_golden.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

// ‖a − b‖ / ‖b‖ of logits, states, loss, gradients and updates. f32: some 1e-6 from rounding in
// sums of a few hundred products; a wrong term shows as 1e-3 and more. bf16 keeps 8 bits of every
// activation: 2^-9 each, over two blocks and back.
constexpr double kBoundF32 = 2e-5;
constexpr double kBoundBf16 = 3e-2;

using Json = nlohmann::json;

/// Values on the host.
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

struct Forward {
    Floats logits;  // [B,T,V]
    Floats states;
};

struct Step {
    double loss = 0.0;
    std::vector<Doubles> gradients;
    std::vector<Floats> params;  // after the update
    Floats states;
};

std::string scientific(double value) {
    std::array<char, 64> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                   std::chars_format::scientific, 1);
    return {text.data(), end.ptr};
}

bool same_bits(const Floats& a, const Floats& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
bool same_bits(const Doubles& a, const Doubles& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

template <class T>
std::vector<T> to_host(DeviceQueue& queue, ConstTensorView view) {
    std::vector<T> out(static_cast<std::size_t>(view.count()));
    queue.copy_bytes(out.data(), view.data(), view.count() * size_of(view.dtype()));
    queue.wait();
    return out;
}

Tensor to_device(DeviceQueue& queue, ConstTensorView host) {
    Tensor out(queue.memory(), host.dtype(), host.shape(), "selftest");
    copy(queue, host, out.view());
    queue.wait();
    return out;
}

/// One case on one backend.
class CaseRun {
  public:
    CaseRun(ops::Context& context, const SelftestCase& at)
        : context_(context),
          at_(at),
          start_(selftest_model(at)),
          model_(selftest_model(at).on_device(context.queue)),
          ids_(to_device(context.queue, selftest_ids(at).view())),
          weights_host_(selftest_weights(at)),
          weights_(to_device(context.queue, weights_host_.view())) {}

    std::int64_t width() const { return at_.config.vocab_size; }
    const model::ParamTable& start() const { return start_.params(); }

    /// All lanes, in chunks of that length.
    Forward forward(std::int64_t chunk) { return forward(ids_.view(), at_.length, chunk, {}); }
    /// One lane alone, positions [lo, hi).
    Forward part(std::int64_t lane, std::int64_t lo, std::int64_t hi) {
        return forward(ids_.view().slice(0, lane, lane + 1).slice(1, lo, hi), hi - lo, hi - lo, {});
    }
    /// All lanes, each cut into records that end where `ends` says, packed side by side.
    Forward packed(const std::vector<std::int64_t>& ends);
    /// Gradients and the update.
    Step step(std::int64_t chunk);

  private:
    Forward forward(ConstTensorView ids,
                    std::int64_t length,
                    std::int64_t chunk,
                    ConstTensorView segment);

    ops::Context& context_;
    const SelftestCase& at_;
    model::Model start_;  // on the host
    model::Model model_;
    Tensor ids_;
    Tensor weights_host_;
    Tensor weights_;
};

Forward CaseRun::forward(ConstTensorView ids,
                         std::int64_t length,
                         std::int64_t chunk,
                         ConstTensorView segment) {
    const std::int64_t lanes = ids.extent(0);
    DeviceQueue& queue = context_.queue;
    model::StateBank bank(at_.config, lanes, queue);
    Forward out;
    out.logits.resize(static_cast<std::size_t>(lanes * length * width()));
    for (std::int64_t lo = 0; lo < length; lo += chunk) {
        const StepMemory::Scope scope(context_.step);
        const std::int64_t hi = std::min(lo + chunk, length);
        const TensorView logits = context_.step.take(DType::f32, {lanes, hi - lo, width()});
        model::forward_logits(
            context_, model_,
            {ids.slice(1, lo, hi), {}, segment ? segment.slice(1, lo, hi) : segment}, bank, logits);
        const Floats part = to_host<float>(queue, logits);
        const std::int64_t count = (hi - lo) * width();
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            std::copy_n(part.begin() + lane * count, count,
                        out.logits.begin() + (lane * length + lo) * width());
        }
    }
    out.states = to_host<float>(queue, bank.values());
    return out;
}

Forward CaseRun::packed(const std::vector<std::int64_t>& ends) {
    Tensor segment(host_allocator(), DType::i32, {at_.lanes, at_.length}, "selftest segments");
    for (std::int64_t i = 0; i < segment.shape().count(); ++i) {
        const auto end = std::upper_bound(ends.begin(), ends.end(), i % at_.length);
        static_cast<std::int32_t*>(segment.view().data())[i] =
            static_cast<std::int32_t>(end - ends.begin());
    }
    const Tensor on_device = to_device(context_.queue, segment.view());
    return forward(ids_.view(), at_.length, at_.length, on_device.view());
}

Step CaseRun::step(std::int64_t chunk) {
    DeviceQueue& queue = context_.queue;
    model::Model updated = selftest_model(at_).on_device(queue);
    model::Gradients gradients(updated, queue);
    model::AdamW optimizer(updated, kSelftestAdamW, queue);
    model::StateBank states(at_.config, at_.lanes, queue);
    const auto* const weights = static_cast<const float*>(weights_host_.view().data());
    const double sum = std::accumulate(weights, weights + at_.lanes * at_.length, 0.0);
    Step out;
    out.loss = model::training_step(context_, updated,
                                    {ids_.view().slice(1, 0, at_.length),
                                     ids_.view().slice(1, 1, at_.length + 1), weights_.view()},
                                    chunk, 1.0 / sum, states, gradients);
    optimizer.step(context_, updated, gradients, kSelftestRate);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        out.gradients.push_back(to_host<double>(queue, std::as_const(gradients).of(i)));
        out.params.push_back(to_host<float>(queue, updated.params()[i].value.view()));
    }
    out.states = to_host<float>(queue, states.values());
    return out;
}

/// Holds a case to its golden results and to itself, and notes what it finds.
class Checker {
  public:
    Checker(ops::Context& context, const SelftestCase& at, const Json& golden, SelftestLine& line)
        : context_(context), at_(at), run_(context, at), golden_(golden), line_(line) {}

    void check() {
        const Forward whole = run_.forward(at_.length);
        near("logits", sketch_of(view(whole.logits)));
        near("states", sketch_of(view(whole.states)));
        check_chunks(whole);
        check_lanes(whole);
        check_segments();
        check_step(whole);
    }

  private:
    bool on_host() const { return context_.device.kind == Device::Kind::cpu; }
    static ConstTensorView view(const Floats& values) {
        return {values.data(), DType::f32, {static_cast<std::int64_t>(values.size())}};
    }
    static ConstTensorView view(const Doubles& values) {
        return {values.data(), DType::f64, {static_cast<std::int64_t>(values.size())}};
    }

    void near(const std::string& what, const Sketch& ours) {
        const Json& stored = golden_.at(what);
        Sketch golden;
        golden.norm = stored.at(0).get<double>();
        for (std::size_t k = 0; k < Sketch::kSums; ++k) {
            golden.sums[k] = stored.at(k + 1).get<double>();
        }
        const double difference = relative_difference(ours, golden);
        ++line_.comparisons;
        if (!(difference <= line_.largest)) {  // a NaN too
            line_.largest = difference;
            line_.worst = concat(at_.name, ": ", what);
        }
        if (!(difference <= line_.bound)) {
            fail(concat(what, " is off by ", scientific(difference)));
        }
    }
    void same(const std::string& what, bool is_same) {
        ++line_.same;
        if (!is_same) {
            ++line_.differing;
            fail(concat(what, ": not the same bits"));
        }
    }
    void fail(const std::string& why) { line_.failures.push_back(concat(at_.name, ": ", why)); }

    void check_chunks(const Forward& whole);
    void check_lanes(const Forward& whole);
    void check_segments();
    void check_step(const Forward& whole);

    ops::Context& context_;
    const SelftestCase& at_;
    CaseRun run_;
    const Json& golden_;
    SelftestLine& line_;
};

/// The same bits where a chunk is whole tiles of the backend, any length on the CPU.
void Checker::check_chunks(const Forward& whole) {
    const std::int64_t tile = on_host() ? 1 : context_.table.gradient_tile;
    for (const std::int64_t chunk : {std::int64_t{1}, std::int64_t{7}, std::int64_t{100},
                                     std::int64_t{4096}, context_.table.gradient_tile}) {
        if (chunk >= at_.length || at_.length / chunk > 400) {
            continue;
        }
        const Forward chunked = run_.forward(chunk);
        if (chunk % tile == 0) {
            same(concat("logits in chunks of ", chunk), same_bits(chunked.logits, whole.logits));
            same(concat("states in chunks of ", chunk), same_bits(chunked.states, whole.states));
        } else {
            near("logits", sketch_of(view(chunked.logits)));
            near("states", sketch_of(view(chunked.states)));
        }
    }
}

/// Alone as in company.
void Checker::check_lanes(const Forward& whole) {
    const std::int64_t count = at_.length * run_.width();
    for (std::int64_t lane = 0; lane < at_.lanes && at_.lanes > 1; ++lane) {
        const Forward alone = run_.part(lane, 0, at_.length);
        same(concat("logits of lane ", lane, " alone"),
             same_bits(alone.logits, {whole.logits.begin() + lane * count,
                                      whole.logits.begin() + (lane + 1) * count}));
    }
}

/// Short records packed into a lane as they are apart.
void Checker::check_segments() {
    if (at_.lanes == 1) {
        return;
    }
    const std::vector<std::int64_t> ends = {1, 3, 40, 41, 97, at_.length};
    const Forward packed = run_.packed(ends);
    std::int64_t lo = 0;
    for (const std::int64_t hi : ends) {
        const Forward apart = run_.part(1, lo, hi);
        const auto first = packed.logits.begin() + (at_.length + lo) * run_.width();
        same(concat("logits of the record from ", lo, ", packed"),
             same_bits(apart.logits, {first, first + (hi - lo) * run_.width()}));
        lo = hi;
    }
}

void Checker::check_step(const Forward& whole) {
    const Step step = run_.step(at_.length);
    near("loss", sketch_of(&step.loss, 1));
    if (on_host()) {
        same("states after training", same_bits(step.states, whole.states));
    } else {  // which may cut the scan otherwise in training (ops::SelectiveScan::for_training)
        near("states", sketch_of(view(step.states)));
    }
    const model::ParamTable& params = run_.start();
    for (std::size_t i = 0; i < params.size(); ++i) {
        near("grad." + params[i].name, sketch_of(view(step.gradients[i])));
        Doubles update(step.params[i].begin(), step.params[i].end());
        const auto* const before = static_cast<const float*>(params[i].value.view().data());
        for (std::size_t k = 0; k < update.size(); ++k) {
            update[k] -= static_cast<double>(before[k]);
        }
        near("update." + params[i].name, sketch_of(view(update)));
    }
    const std::int64_t chunk = round_up(100, context_.table.gradient_tile);
    if (chunk >= at_.length) {
        return;
    }
    const Step chunked = run_.step(chunk);
    same(concat("loss in chunks of ", chunk), chunked.loss == step.loss);
    for (std::size_t i = 0; i < params.size(); ++i) {
        same(concat("grad.", params[i].name, " in chunks of ", chunk),
             same_bits(chunked.gradients[i], step.gradients[i]));
        same(concat(params[i].name, " after training in chunks of ", chunk),
             same_bits(chunked.params[i], step.params[i]));
    }
}

SelftestLine check_backend(ops::Context& context, std::string name, const Runtime& runtime) {
    static const Json golden = Json::parse(selftest_golden_text());
    SelftestLine line;
    line.backend = std::move(name);
    line.bound = context.activations == DType::bf16 ? kBoundBf16 : kBoundF32;
    for (const SelftestCase& at : selftest_cases()) {
        runtime.observer.progress(concat(line.backend, ": ", at.name));
        Checker(context, at, golden.at(at.name), line).check();
        runtime.throw_if_stopped();
    }
    return line;
}

}  // namespace

bool SelftestReport::ok() const {
    return std::all_of(lines.begin(), lines.end(),
                       [](const SelftestLine& line) { return line.ok(); });
}

std::string SelftestReport::text() const {
    std::string out;
    for (const SelftestLine& line : lines) {
        out += concat(line.ok() ? "ok    " : "FAIL  ", line.backend, ": ", line.comparisons,
                      " results, largest difference ", scientific(line.largest), " (bound ",
                      scientific(line.bound), "; ", line.worst, "); ", line.same,
                      " results of other chunks, lanes and segments, ",
                      line.differing == 0 ? std::string("the same bits")
                                          : concat(line.differing, " with other bits"),
                      "\n");
        for (const std::string& failure : line.failures) {
            out += concat("      ", failure, "\n");
        }
    }
    return out + note;
}

SelftestReport selftest(const Runtime& runtime) {
    SelftestReport report;
    set_flush_denormals();
    for (const ops::OpTable* const table : ops::cpu_tables()) {
        ThreadPool pool(3);
        StepMemory step(host_allocator());
        ops::Context context(*table, pool, step);
        report.lines.push_back(check_backend(context, table->name, runtime));
    }
    const int devices = ops::device_count(Device::Kind::cuda);
    if (devices == 0) {
        report.note = ops::has_backend(Device::Kind::cuda)
                          ? "no CUDA device is visible: the CPU alone\n"
                          : "this build has no CUDA backend: the CPU alone\n";
    }
    for (int index = 0; index < devices; ++index) {
        for (const DType precision : {DType::f32, DType::bf16}) {
            Runtime on_device = runtime;
            on_device.device = {Device::Kind::cuda, index};
            on_device.precision = precision;
            Engine engine(on_device);
            report.lines.push_back(check_backend(
                engine.context(), concat(ops::device_name(on_device.device), ", ", name(precision)),
                runtime));
        }
    }
    return report;
}

}  // namespace mambase::pipelines
