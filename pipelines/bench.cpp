#include "pipelines/bench.hpp"

#include "base/error.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"
#include "pipelines/bench_ops.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>

namespace mambase::pipelines {

namespace {

using Work = std::function<void()>;

double seconds_of(const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Times of one thing, over the repeats.
struct Samples {
    std::vector<double> seconds;

    double median() const {
        std::vector<double> sorted = seconds;
        std::sort(sorted.begin(), sorted.end());
        const std::size_t middle = sorted.size() / 2;
        return sorted.size() % 2 == 1 ? sorted[middle]
                                      : 0.5 * (sorted[middle - 1] + sorted[middle]);
    }
    double spread() const {
        const auto [low, high] = std::minmax_element(seconds.begin(), seconds.end());
        return (*high - *low) / median();
    }
};

/// Runs all works once unmeasured, then `repeats` times one after the other: A B C A B C …, so that
/// whatever else the machine does falls on all alike.
std::vector<Samples> time_interleaved(const std::vector<Work>& works, int repeats) {
    std::vector<Samples> out(works.size());
    for (const Work& work : works) {
        work();
    }
    for (int repeat = 0; repeat < repeats; ++repeat) {
        for (std::size_t i = 0; i < works.size(); ++i) {
            out[i].seconds.push_back(seconds_of(works[i]));
        }
    }
    return out;
}

/// Whole model: one lane of `length` positions.
class ModelBench {
  public:
    ModelBench(const model::ModelConfig& config, std::int64_t length, std::uint64_t seed)
        : length_(length),
          model_(model::Model::initialise(config, seed, host_allocator())),
          gradients_(model_, host_queue()),
          optimizer_(model_, {}, host_queue()),
          codes_(host_allocator(), DType::u8, {1, length + 1}, "bench sequence"),
          weight_(host_allocator(), DType::f32, {1, length}, "bench weights"),
          logits_(host_allocator(), DType::f32, {1, length, config.vocab_size}, "bench logits") {
        const CounterRng rng(seed, 0);
        auto* codes = static_cast<std::uint8_t*>(codes_.view().data());
        const auto acgt = io::Tokenizer::named("dna").acgt();
        for (std::int64_t i = 0; i <= length; ++i) {
            codes[i] = acgt[rng.below(static_cast<std::uint64_t>(i), 4)];
        }
        auto* weight = static_cast<float*>(weight_.view().data());
        std::fill(weight, weight + length, 1.0F);
    }

    void forward(ops::Context& context) {
        model::StateBank states(model_.config(), 1, host_queue());
        model::forward_logits(context, model_, {codes_.view().slice(1, 0, length_), {}, {}}, states,
                              logits_.view());
    }

    /// Gradients of one lane and the update.
    void step(ops::Context& context) {
        model::StateBank states(model_.config(), 1, host_queue());
        gradients_.zero();
        const model::TrainBatch batch{codes_.view().slice(1, 0, length_),
                                      codes_.view().slice(1, 1, length_ + 1), weight_.view()};
        model::training_step(context, model_, batch, length_, 1.0 / static_cast<double>(length_),
                             states, gradients_);
        optimizer_.step(context, model_, gradients_, 1e-6);
    }

  private:
    std::int64_t length_;
    model::Model model_;
    model::Gradients gradients_;
    model::AdamW optimizer_;
    Tensor codes_;
    Tensor weight_;
    Tensor logits_;
};

BenchRow row(std::string what, const Samples& whole, const Samples& products, double flops) {
    return {std::move(what), whole.median(), whole.spread(), products.median(), flops};
}

std::vector<BenchRow> bench_model(ModelBench& whole,
                                  const Products& products,
                                  ops::Context& context,
                                  int repeats) {
    const std::vector<Samples> samples =
        time_interleaved({[&] { whole.forward(context); }, [&] { products.forward(context); },
                          [&] { whole.step(context); }, [&] { products.step(context); }},
                         repeats);
    return {row("forward", samples[0], samples[1], products.flops()),
            row("training step", samples[2], samples[3], 3.0 * products.flops())};
}

std::vector<BenchRow> bench_ops(const model::ModelConfig& config,
                                const Products& products,
                                const BenchOptions& options,
                                ops::Context& context) {
    Tensors from(options.seed);
    const std::vector<OpBench> benches =
        op_benches(from, products, config, options.length, context);
    std::vector<Work> works = {[&] { products.layer_forward(context); },
                               [&] { products.layer_backward(context); }};
    for (const OpBench& bench : benches) {
        works.emplace_back([&] { bench.forward(context); });
        works.emplace_back([&] { bench.backward(context); });
    }
    const std::vector<Samples> samples = time_interleaved(works, options.repeats);
    std::vector<BenchRow> out;
    for (std::size_t i = 0; i < benches.size(); ++i) {
        const OpBench& bench = benches[i];
        out.push_back(row(bench.name + " forward", samples[2 + 2 * i], samples[0], bench.flops));
        out.push_back(
            row(bench.name + " backward", samples[3 + 2 * i], samples[1], 2.0 * bench.flops));
    }
    return out;
}

/// One thread and two, A B A B.
void bench_two_threads(ModelBench& whole,
                       const Runtime& runtime,
                       int repeats,
                       BenchReport& report) {
    Runtime with_one = runtime;
    with_one.threads = 1;
    Runtime with_two = runtime;
    with_two.threads = 2;
    Engine one(with_one);
    Engine two(with_two);
    const std::vector<Samples> samples = time_interleaved(
        {[&] { whole.forward(one.context()); }, [&] { whole.forward(two.context()); },
         [&] { whole.step(one.context()); }, [&] { whole.step(two.context()); }},
        repeats);
    report.two_thread_forward = samples[0].median() / samples[1].median();
    report.two_thread_step = samples[2].median() / samples[3].median();
}

model::ModelConfig bench_config(const BenchOptions& options) {
    const std::int64_t width = options.d_model.value_or(128);
    model::ModelConfig config = options.preset.empty() ? model::ModelConfig::of_width(width, 8)
                                                       : model::preset(options.preset);
    if (options.d_model) {
        config = model::ModelConfig::of_width(width, config.n_layer);
    }
    config.n_layer = options.layers.value_or(config.n_layer);
    config.validate();
    return config;
}

/// What no formulation of the recurrence of selective_scan.hpp gets by without, a base and layer.
/// For each of E·N states: one exp; delta·a, b·(delta·x), and a multiplication and an addition each
/// for h and for y. For each of E channels: softplus and the gate's sigmoid (an exp and a log, an
/// exp: three counted), delta·x, + dt_bias, d·x and its addition, 1 + exp twice, and two for the
/// gate.
void set_scan_floor(const model::ModelConfig& config, BenchReport& report) {
    const auto channels = static_cast<double>(config.d_inner);
    const double states = channels * static_cast<double>(config.d_state);
    const auto layers = static_cast<double>(config.n_layer);
    report.scan_exps_per_base = layers * (states + 3.0 * channels);
    report.scan_operations_per_base = layers * (6.0 * states + 8.0 * channels);
    for (const BenchRow& row : report.ops) {
        if (row.what == "selective_scan forward") {
            report.scan_seconds_per_exp =
                row.seconds / (static_cast<double>(report.length) * (states + 3.0 * channels));
        }
    }
}

}  // namespace

void BenchOptions::validate() const {
    std::vector<std::string> violations;
    const std::pair<const char*, std::int64_t> sizes[] = {{"d-model", d_model.value_or(1)},
                                                          {"layers", layers.value_or(1)},
                                                          {"length", length},
                                                          {"repeats", repeats}};
    for (const auto& [name, size] : sizes) {
        if (size < 1) {
            violations.emplace_back(concat(name, " is at least 1, not ", size));
        }
    }
    throw_violations(violations);
}

BenchReport bench(const BenchOptions& options, const Runtime& runtime) {
    options.validate();
    const model::ModelConfig config = bench_config(options);
    Engine engine(runtime);
    BenchReport report;
    report.device = engine.context().table.name;
    report.threads = runtime.threads;
    report.d_model = config.d_model;
    report.layers = config.n_layer;
    report.length = options.length;
    report.repeats = options.repeats;

    ModelBench whole(config, options.length, options.seed);
    const Products products(config, options.length, options.seed);
    runtime.observer.progress("whole model");
    report.model = bench_model(whole, products, engine.context(), options.repeats);
    runtime.throw_if_stopped();
    runtime.observer.progress("ops");
    report.ops = bench_ops(config, products, options, engine.context());
    runtime.throw_if_stopped();
    if (runtime.threads >= 2) {
        runtime.observer.progress("one thread and two");
        bench_two_threads(whole, runtime, options.repeats, report);
    }
    set_scan_floor(config, report);
    return report;
}

}  // namespace mambase::pipelines
