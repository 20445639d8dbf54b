// One model on one card from several streams at once: what overlapping the scan, which is bound by
// arithmetic, with the ops around it, which are bound by memory, could gain. Usage:
// cuda_streams_bench STREAMS LANES LENGTH [CHUNK [REPEATS [train]]]: every stream reads, or trains
// on, its own LANES x LENGTH bases of preset small; the best of REPEATS.
#include "kernels/ops/op_table.hpp"
#include "model/chunked_step.hpp"
#include "model/config.hpp"
#include "model/forward.hpp"
#include "model/model.hpp"
#include "tests/bench/gpu_lab.hpp"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

using namespace mambase;

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "cuda_streams_bench STREAMS LANES LENGTH [CHUNK [REPEATS [train]]]\n");
        return 2;
    }
    const int streams = std::atoi(argv[1]);
    const std::int64_t lanes = std::atoll(argv[2]);
    const std::int64_t length = std::atoll(argv[3]);
    const std::int64_t chunk = argc > 4 ? std::atoll(argv[4]) : length;
    const int repeats = argc > 5 ? std::atoi(argv[5]) : 5;
    const bool train = argc > 6;
    const model::ModelConfig config = model::preset("small");
    std::barrier gate(streams);
    double seconds = 0.0;
    const auto work = [&](int index) {
        test::Gpu gpu;
        const model::Model model =
            model::Model::initialise(config, 1, host_allocator()).on_device(*gpu.queue);
        model::Gradients gradients(model, *gpu.queue);
        model::StateBank bank(config, lanes, *gpu.queue);
        Tensor ids(gpu.queue->memory(), DType::u8, {lanes, length}, "ids");
        std::vector<std::uint8_t> host(static_cast<std::size_t>(lanes * length));
        std::uint64_t x = 88172645463325252ULL + static_cast<std::uint64_t>(index);
        for (auto& id : host) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            id = static_cast<std::uint8_t>(7 + (x & 3));
        }
        copy(*gpu.queue, ConstTensorView(host.data(), DType::u8, {lanes, length}), ids.view());
        Tensor sums(gpu.queue->memory(), DType::f64, {lanes + 1}, "sums");
        Tensor scale(gpu.queue->memory(), DType::f64, {1}, "scale");
        Tensor weight(gpu.queue->memory(), DType::f32, {lanes, length}, "weight");
        zero(*gpu.queue, scale.view());
        zero(*gpu.queue, weight.view());
        for (int repeat = 0; repeat <= repeats; ++repeat) {
            gpu.queue->wait();
            gate.arrive_and_wait();
            const auto start = std::chrono::steady_clock::now();
            bank.reset();
            if (train) {
                model::ask_training_step(gpu.context, model,
                                         {ids.view(), ids.view(), weight.view()}, chunk,
                                         scale.view(), bank, gradients, sums.view());
            } else {
                for (std::int64_t at = 0; at < length; at += chunk) {
                    const StepMemory::Scope scope(gpu.step);
                    const std::int64_t end = std::min(at + chunk, length);
                    const TensorView logits =
                        gpu.step.take(DType::f32, {lanes, end - at, config.vocab_size});
                    model::Chunk piece{ids.view().slice(1, at, end), {}, {}};
                    piece.check_states = false;
                    model::forward_logits(gpu.context, model, piece, bank, logits);
                }
            }
            gpu.queue->wait();
            gate.arrive_and_wait();
            if (index == 0 && repeat > 0) {
                const double s =
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                seconds = repeat == 1 ? s : std::min(seconds, s);
            }
        }
        gate.arrive_and_wait();
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < streams; ++i) {
        threads.emplace_back(work, i);
    }
    for (auto& t : threads) {
        t.join();
    }
    const double bases = static_cast<double>(lanes * length * streams);
    std::printf("%s %d streams %lld x %lld chunk %lld: %.3f ms, %.2f ns a base, %.2f Mbase/s\n",
                train ? "train" : "forward", streams, static_cast<long long>(lanes),
                static_cast<long long>(length), static_cast<long long>(chunk), seconds * 1e3,
                seconds * 1e9 / bases, bases / seconds * 1e-6);
}
