#include "pipelines/bench.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/ops/naive_scan.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/memory_plan.hpp"
#include "model/model.hpp"
#include "model/repeated_step.hpp"
#include "model/state_bank.hpp"
#include "pipelines/bench_ops.hpp"
#include "pipelines/bench_packed.hpp"
#include "pipelines/bench_timer.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

namespace mambase::pipelines {

namespace {

// At most; less where little memory is free.
constexpr std::int64_t kDeviceCopy = std::int64_t{1} << 30;
constexpr std::int64_t kHostCopy = std::int64_t{256} << 20;
constexpr std::int64_t kHostCopyPart = std::int64_t{4} << 20;
/// What the results of the unfused scan's steps may take.
constexpr std::int64_t kDeviceScan = std::int64_t{4} << 30;
constexpr std::int64_t kHostScan = std::int64_t{256} << 20;

bool is_host(Engine& engine) {
    return engine.queue().device().kind == Device::Kind::cpu;
}

/// What a run holds at once, chosen before anything is allocated.
struct Sizes {
    std::int64_t lanes = 0;
    std::int64_t length = 0;
    std::int64_t op_length = 0;
    std::int64_t forward_chunk = 0;
    std::int64_t step_chunk = 0;
    std::int64_t forward_bytes = 0;  // of step memory
    std::int64_t step_bytes = 0;     //
    std::int64_t copy_bytes = 0;
    std::int64_t scan_bytes = 0;  // of the results of the unfused scan's steps

    std::int64_t bases() const { return lanes * length; }
};

/// One layer's tensors have at most two fifths of the free memory, the model what is left of nine
/// tenths.
Sizes choose_sizes(const BenchOptions& options, const model::ModelConfig& config, Engine& engine) {
    const ops::Context& context = engine.context();
    const std::int64_t free = engine.queue().free_bytes();
    Sizes out;
    out.lanes = options.lanes;
    out.length = out.op_length = options.length;
    out.copy_bytes = std::min(is_host(engine) ? kHostCopy : kDeviceCopy, free / 40);
    out.scan_bytes = std::min(is_host(engine) ? kHostScan : kDeviceScan, free / 20);
    const auto layer_bytes = [&] {
        return LayerBench::bytes(context, config, out.lanes, out.op_length);
    };
    while (out.op_length > 1 && layer_bytes() > free / 5 * 2) {
        out.op_length /= 2;
    }
    const std::int64_t limit = free / 10 * 9 - layer_bytes();
    const auto choose = [&](model::RunMode mode, std::int64_t& chunk, std::int64_t& bytes) {
        chunk = options.chunk > 0
                    ? std::min(engine.chunk(options.chunk), out.length)
                    : model::largest_chunk(context.table, config, out.lanes, out.length, limit,
                                           mode, context.activations);
        MAMBASE_REQUIRE(chunk > 0, ErrorCode::out_of_memory,
                        concat("not even the shortest chunk of ", out.lanes, " lanes fits in ",
                               format_bytes(limit)));
        bytes = model::plan(context.table, config, out.lanes, out.length, chunk, mode,
                            context.activations)
                    .step_bytes;
    };
    choose(model::RunMode::forward, out.forward_chunk, out.forward_bytes);
    choose(model::RunMode::train, out.step_chunk, out.step_bytes);
    return out;
}

/// The whole model on random bases.
class ModelBench {
  public:
    ModelBench(const model::ModelConfig& config,
               const Sizes& sizes,
               std::uint64_t seed,
               DeviceQueue& queue)
        : sizes_(sizes),
          model_(model::Model::initialise(config, seed, host_allocator()).on_device(queue)),
          gradients_(model_, queue),
          optimizer_(model_, {}, queue),
          states_(config, sizes.lanes, queue),
          step_(queue, model_, sizes.lanes, sizes.length, sizes.step_chunk, gradients_),
          ids_(queue.memory(), DType::u8, {sizes.lanes, sizes.length}, "bench sequence") {
        const CounterRng rng(seed, 0);
        const auto acgt = io::Tokenizer::named("dna").acgt();
        const auto ids = step_.ids().as<std::uint8_t, 2>();
        const auto targets = step_.targets().as<std::uint8_t, 2>();
        for (std::int64_t lane = 0; lane < sizes.lanes; ++lane) {
            for (std::int64_t t = 0; t <= sizes.length; ++t) {
                const std::int64_t at = lane * (sizes.length + 1) + t;
                const std::uint8_t id = acgt[rng.below(static_cast<std::uint64_t>(at), 4)];
                if (t < sizes.length) {
                    ids(lane, t) = id;
                }
                if (t > 0) {
                    targets(lane, t - 1) = id;
                }
            }
        }
        std::fill_n(static_cast<float*>(step_.weight().data()), sizes.bases(), 1.0F);
        copy(queue, step_.ids(), ids_.view());
        queue.wait();
    }

    const model::Model& model() const { return model_; }

    void forward(ops::Context& context) {
        states_.reset();
        for (std::int64_t at = 0; at < sizes_.length; at += sizes_.forward_chunk) {
            const std::int64_t end = std::min(at + sizes_.forward_chunk, sizes_.length);
            const StepMemory::Scope scope(context.step);
            const TensorView logits =
                context.step.take(DType::f32, {sizes_.lanes, end - at, model_.config().vocab_size});
            model::forward_logits(context, model_, {ids_.view().slice(1, at, end), {}, {}}, states_,
                                  logits);
        }
    }

    /// Gradients of all lanes and the update.
    void step(ops::Context& context) {
        states_.reset();
        gradients_.zero();
        step_.start(context, 1.0 / static_cast<double>(sizes_.bases()), states_);
        step_.finish(context);
        optimizer_.step(context, model_, gradients_, 1e-6);
    }

  private:
    Sizes sizes_;
    model::Model model_;
    model::Gradients gradients_;
    model::AdamW optimizer_;
    model::StateBank states_;
    model::RepeatedStep step_;
    Tensor ids_;
};

/// 10^9 bytes a second, read and written.
double copy_gigabytes(Engine& engine, std::int64_t bytes, int repeats) {
    DeviceQueue& queue = engine.queue();
    Tensor from(queue.memory(), DType::u8, {bytes}, "bench copy");
    Tensor to(queue.memory(), DType::u8, {bytes}, "bench copy");
    zero(queue, from.view());
    const auto copy_all = [&] {
        if (!is_host(engine)) {
            copy(queue, from.view(), to.view());
            return;
        }
        engine.pool().parallel_for(ceil_div(bytes, kHostCopyPart), [&](std::int64_t part) {
            const std::int64_t lo = part * kHostCopyPart;
            const std::int64_t hi = std::min(lo + kHostCopyPart, bytes);
            copy(queue, from.view().slice(0, lo, hi), to.view().slice(0, lo, hi));
        });
    };
    return 2e-9 * static_cast<double>(bytes) /
           time_interleaved(queue, {copy_all}, repeats).front().median();
}

BenchRow row(std::string what, std::int64_t bases, const Samples& whole) {
    BenchRow out;
    out.what = std::move(what);
    out.bases = bases;
    out.seconds = whole.median();
    out.spread = whole.spread();
    return out;
}

/// What a run of the model alone holds at most; 0 on the host, which does not count.
std::int64_t peak_bytes(const BenchOptions& options,
                        const model::ModelConfig& config,
                        const Sizes& sizes,
                        const Runtime& runtime,
                        model::RunMode mode) {
    if (runtime.device.kind == Device::Kind::cpu) {
        return 0;
    }
    const bool trains = mode == model::RunMode::train;
    Engine engine(runtime);
    ModelBench whole(config, sizes, options.seed, engine.queue());
    engine.context().step.reserve(trains ? sizes.step_bytes : sizes.forward_bytes);
    trains ? whole.step(engine.context()) : whole.forward(engine.context());
    engine.queue().wait();
    return engine.queue().peak_bytes();
}

/// `packed` may be null.
void bench_model(ModelBench& whole,
                 PackedForward* packed,
                 const LayerBench& layer,
                 const Sizes& sizes,
                 Engine& engine,
                 BenchReport& report) {
    ops::Context& context = engine.context();
    std::vector<Work> works = {
        [&] { whole.forward(context); }, [&] { layer.model_products_forward(context); },
        [&] { whole.step(context); }, [&] { layer.model_products_step(context); }};
    if (packed != nullptr) {
        works.emplace_back([&] { packed->forward(context); });
    }
    const std::vector<Samples> samples = time_interleaved(engine.queue(), works, report.repeats);
    // Products that do not fit at full length are timed on a part of it.
    const double parts = static_cast<double>(sizes.length) / static_cast<double>(sizes.op_length);
    for (std::size_t i = 0; i < 2; ++i) {
        BenchRow out = row(i == 0 ? "forward" : "training step", sizes.bases(), samples[2 * i]);
        out.product_seconds = parts * samples[2 * i + 1].median();
        out.flops = parts * layer.model_flops() * (i == 0 ? 1.0 : 3.0);
        out.chunk = i == 0 ? sizes.forward_chunk : sizes.step_chunk;
        report.model.push_back(std::move(out));
    }
    if (packed != nullptr) {
        report.model.push_back(
            row(concat("forward, windows of ", report.segment), packed->bases(), samples.back()));
        report.model.back().chunk = packed->length();
    }
}

void bench_ops(const LayerBench& layer, const Sizes& sizes, Engine& engine, BenchReport& report) {
    ops::Context& context = engine.context();
    std::vector<Work> works = {[&] { layer.products_forward(context); },
                               [&] { layer.products_backward(context); }};
    for (const OpBench& bench : layer.ops()) {
        works.emplace_back([&] { bench.forward(context); });
        works.emplace_back([&] { bench.backward(context); });
    }
    const std::vector<Samples> samples = time_interleaved(engine.queue(), works, report.repeats);
    std::size_t at = 2;
    for (const OpBench& bench : layer.ops()) {
        for (const bool backward : {false, true}) {
            BenchRow out = row(bench.name + (backward ? " backward" : " forward"),
                               sizes.lanes * sizes.op_length, samples[at++]);
            out.product_seconds = samples[backward ? 1 : 0].median();
            out.flops = bench.flops * (backward ? 2.0 : 1.0);
            out.bytes = backward ? bench.backward_bytes : bench.forward_bytes;
            report.ops.push_back(std::move(out));
        }
    }
}

/// The scan against the same by plain steps.
void bench_scans(const LayerBench& layer,
                 const model::ModelConfig& config,
                 const Sizes& sizes,
                 Engine& engine,
                 BenchReport& report) {
    const std::int64_t fit =
        std::max<std::int64_t>((is_host(engine) ? kHostScan : kDeviceScan) /
                                   ops::naive_scan_bytes(config.d_inner, config.d_state),
                               1);
    report.scan_length = std::min(sizes.op_length, fit);
    report.scan_lanes = std::clamp<std::int64_t>(fit / report.scan_length, 1, sizes.lanes);
    const ops::SelectiveScan op = layer.scan(report.scan_lanes, report.scan_length);
    ops::Context& context = engine.context();
    const std::vector<Samples> samples =
        time_interleaved(engine.queue(),
                         {[&] { ops::selective_scan_forward(context, op); },
                          [&] { ops::naive_scan_forward(context, op); }},
                         report.repeats);
    const std::int64_t bases = report.scan_lanes * report.scan_length;
    report.scans = {row("selective_scan forward", bases, samples[0]),
                    row("the same by plain steps", bases, samples[1])};
}

/// One thread and two, A B A B.
void bench_two_threads(ModelBench& whole, const Runtime& runtime, BenchReport& report) {
    Runtime with_one = runtime;
    with_one.threads = 1;
    Runtime with_two = runtime;
    with_two.threads = 2;
    Engine one(with_one);
    Engine two(with_two);
    const std::vector<Samples> samples = time_interleaved(
        one.queue(),
        {[&] { whole.forward(one.context()); }, [&] { whole.forward(two.context()); },
         [&] { whole.step(one.context()); }, [&] { whole.step(two.context()); }},
        report.repeats);
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
    if (options.delta) {
        config.dt_min = config.dt_max = *options.delta;
        config.dt_init_floor = std::min(config.dt_init_floor, *options.delta);
        config.dt_scale = 1e-30;  // nothing that varies by position is added to the bias
    }
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
                row.seconds / (static_cast<double>(row.bases) * (states + 3.0 * channels));
        }
    }
}

}  // namespace

void BenchOptions::validate() const {
    std::vector<std::string> violations;
    const std::pair<const char*, std::int64_t> sizes[] = {{"d-model", d_model.value_or(1)},
                                                          {"layers", layers.value_or(1)},
                                                          {"lanes", lanes},
                                                          {"length", length},
                                                          {"repeats", repeats}};
    for (const auto& [name, size] : sizes) {
        if (size < 1) {
            violations.emplace_back(concat(name, " is at least 1, not ", size));
        }
    }
    if (segment < 0 || segment > std::max<std::int64_t>(length, 0)) {
        violations.emplace_back(
            concat("a segment is at most the length, ", length, ", not ", segment));
    }
    if (chunk < 0) {
        violations.emplace_back(concat("chunk is at least 0, not ", chunk));
    }
    if (delta && !(*delta > 0.0 && *delta < 20.0)) {
        violations.emplace_back("delta is not within 0 to 20");
    }
    throw_violations(violations);
}

BenchReport bench(const BenchOptions& options, const Runtime& runtime) {
    options.validate();
    const model::ModelConfig config = bench_config(options);
    Engine engine(runtime);
    const Sizes sizes = choose_sizes(options, config, engine);
    BenchReport report;
    report.device = ops::device_name(runtime.device);
    report.precision = name(engine.context().activations);
    report.threads = runtime.threads;
    report.d_model = config.d_model;
    report.layers = config.n_layer;
    report.lanes = sizes.lanes;
    report.length = sizes.length;
    report.op_length = sizes.op_length;
    report.segment = options.segment;
    report.delta = options.delta;
    report.repeats = options.repeats;

    const std::int64_t forward_peak =
        peak_bytes(options, config, sizes, runtime, model::RunMode::forward);
    const std::int64_t step_peak =
        peak_bytes(options, config, sizes, runtime, model::RunMode::train);
    report.copy_gigabytes = copy_gigabytes(engine, sizes.copy_bytes, options.repeats);
    runtime.throw_if_stopped();
    ModelBench whole(config, sizes, options.seed, engine.queue());
    engine.context().step.reserve(std::max(sizes.forward_bytes, sizes.step_bytes));
    const LayerBench layer(engine.context(), whole.model(), sizes.lanes, sizes.op_length,
                           options.seed);
    runtime.observer.progress("whole model");
    std::optional<PackedForward> packed;
    if (options.segment > 0) {
        packed.emplace(engine, whole.model(), options.segment, sizes.bases(),
                       sizes.lanes * sizes.forward_chunk, options.seed);
    }
    bench_model(whole, packed ? &*packed : nullptr, layer, sizes, engine, report);
    report.model[0].peak_bytes = forward_peak;
    report.model[1].peak_bytes = step_peak;
    runtime.throw_if_stopped();
    runtime.observer.progress("ops");
    bench_ops(layer, sizes, engine, report);
    runtime.throw_if_stopped();
    runtime.observer.progress("the scan by plain steps");
    bench_scans(layer, config, sizes, engine, report);
    runtime.throw_if_stopped();
    if (runtime.threads >= 2 && is_host(engine)) {
        runtime.observer.progress("one thread and two");
        bench_two_threads(whole, runtime, report);
    }
    set_scan_floor(config, report);
    return report;
}

}  // namespace mambase::pipelines
