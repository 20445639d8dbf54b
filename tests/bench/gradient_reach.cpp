// How far gradients reach: the norm of d loss(t) / d input(t - d) by the distance d, summed over
// powers of two, of a model on one sequence. The loss is that of the sequence's last position
// alone, so what is printed is what a base at distance d can still teach the model.
//
// gradient_reach MODEL_DIR SEQUENCE.fa [LENGTH [PLACES [cpu|cuda]]]
// Prints a table: distance from, to, root mean square of the gradient by one input, over PLACES
// windows of LENGTH bases evenly spread over the first record.
#include "base/observer.hpp"
#include "base/text.hpp"
#include "genomics_io/token_store.hpp"
#include "genomics_io/tokenizer.hpp"
#include "model/chunked_step.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/runtime.hpp"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

using namespace mambase;

namespace {

struct Sums {
    std::vector<double> squares;  // by power of two of the distance
    std::vector<double> counts;

    void add(std::int64_t distance, double square) {
        std::size_t bin = 0;
        while ((std::int64_t{2} << bin) <= distance + 1) {
            ++bin;
        }
        if (bin >= squares.size()) {
            squares.resize(bin + 1);
            counts.resize(bin + 1);
        }
        squares[bin] += square;
        counts[bin] += 1.0;
    }
};

void add_window(pipelines::Engine& engine,
                const model::Model& model,
                const std::uint8_t* codes,
                std::int64_t length,
                Sums& sums) {
    ops::Context& context = engine.context();
    const StepMemory::Scope device_scope(engine.step());
    const StepMemory::Scope host_scope(engine.host());
    const TensorView ids = engine.host().take(DType::u8, {1, length});
    const TensorView targets = engine.host().take(DType::u8, {1, length});
    const TensorView weight = engine.host().take(DType::f32, {1, length});
    for (std::int64_t t = 0; t < length; ++t) {
        constexpr std::uint8_t id_bits = 0x7F;
        ids.as<std::uint8_t, 2>()(0, t) = codes[t] & id_bits;
        targets.as<std::uint8_t, 2>()(0, t) = codes[t + 1] & id_bits;
        weight.as<float, 2>()(0, t) = t + 1 == length ? 1.0F : 0.0F;
    }
    const std::int64_t width = model.config().d_model;
    const TensorView gradient = engine.step().take(DType::f32, {1, length, width});
    model::Gradients gradients(model, engine.queue());
    model::StateBank states(model.config(), 1, engine.queue());
    model::training_step(context, model,
                         {ops::on_device(context, ids), ops::on_device(context, targets),
                          ops::on_device(context, weight), gradient},
                         engine.training_rows(), 1.0, states, gradients);
    const auto rows = ops::on_host(context, gradient).as<const float, 3>();
    for (std::int64_t t = 0; t < length; ++t) {
        double square = 0.0;
        for (std::int64_t i = 0; i < width; ++i) {
            square += static_cast<double>(rows(0, t, i)) * static_cast<double>(rows(0, t, i));
        }
        sums.add(length - 1 - t, square);
    }
}

int run(int argc, char** argv) {
    const std::int64_t length = argc > 3 ? std::atoll(argv[3]) : 65536;
    const std::int64_t places = argc > 4 ? std::atoll(argv[4]) : 8;
    const Observer quiet;
    pipelines::Runtime runtime{.threads = 2, .device = {}, .observer = quiet, .command_line = {}};
    if (argc > 5 && std::string(argv[5]) == "cuda") {
        runtime.device.kind = Device::Kind::cuda;
    }
    pipelines::Engine engine(runtime);
    const model::Model model =
        model::Model::load(argv[1], host_allocator()).on_device(engine.queue());
    io::TokenStore store(io::Tokenizer::named("dna"));
    store.add(argv[2], {});
    const auto& codes = store.contigs().front().codes;
    const auto size = static_cast<std::int64_t>(codes.size());
    Sums sums;
    for (std::int64_t place = 0; place < places; ++place) {
        const std::int64_t start = (size - length - 1) / (places + 1) * (place + 1);
        add_window(engine, model, codes.data() + start, length, sums);
    }
    std::puts("from\tto\tgradient_rms");
    for (std::size_t bin = 0; bin < sums.squares.size(); ++bin) {
        std::printf("%lld\t%lld\t%.6e\n", static_cast<long long>((1LL << bin) - 1),
                    static_cast<long long>((2LL << bin) - 2),
                    std::sqrt(sums.squares[bin] / sums.counts[bin]));
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fputs("usage: gradient_reach MODEL_DIR SEQUENCE.fa [LENGTH [PLACES [cpu|cuda]]]\n",
                   stderr);
        return 2;
    }
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gradient_reach: %s\n", error.what());
        return 1;
    }
}
