// What a training step on one long sequence takes in memory: activations that stay the same, states
// at the starts of chunks that grow as length over chunk, and resident memory that grows by no more
// than tokens and states.
//
//     flat_memory genome.fa.gz [chunk [preset [length …]]]     defaults: 4096 tiny 64K 1M 4M
//
// Each length is one step (gradients, exact) in a process of its own, which reads no more of
// the file than it needs, from the first base that is not N. Lengths are powers of ten.
#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "base/thread_pool.hpp"
#include "genomics_io/fasta_source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/chunked_step.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace mambase;

constexpr int kThreads = 2;

/// Codes of `count` bases of the file's first record, from the first that is not N.
std::vector<std::uint8_t> read_codes(const std::string& path, std::int64_t count) {
    const io::Tokenizer& tokenizer = io::Tokenizer::named("dna");
    const auto source = io::open_fasta(path, {});
    std::vector<std::uint8_t> out;
    out.reserve(static_cast<std::size_t>(count));
    std::vector<std::uint8_t> codes(std::size_t{1} << 20U);
    io::Segment segment;
    while (std::ssize(out) < count && source->next(segment) && segment.record == 0) {
        tokenizer.encode(segment.bases, codes.data());
        auto from = codes.cbegin();
        const auto end = from + std::ssize(segment.bases);
        if (out.empty()) {
            from =
                std::find_if(from, end, [&](std::uint8_t code) { return tokenizer.is_acgt(code); });
        }
        out.insert(out.end(), from, from + std::min(end - from, count - std::ssize(out)));
    }
    MAMBASE_REQUIRE(std::ssize(out) == count, ErrorCode::format,
                    concat(path, ": the first record has not ", count, " bases"));
    return out;
}

/// Prints all of a line but the resident memory, which the parent asks for.
void step(const std::string& path,
          const std::string& preset,
          std::int64_t length,
          std::int64_t chunk) {
    set_flush_denormals();
    ThreadPool pool(kThreads);
    StepMemory memory(host_allocator());
    ops::Context context(ops::op_table(Device{}), pool, memory);
    model::Model model = model::Model::initialise(model::preset(preset), 0, host_allocator());
    model::Gradients gradients(model, host_queue());
    model::StateBank states(model.config(), 1, host_queue());

    Tensor ids(host_allocator(), DType::u8, {1, length}, "ids");
    Tensor targets(host_allocator(), DType::u8, {1, length}, "targets");
    Tensor weight(host_allocator(), DType::f32, {1, length}, "weights");
    double weights = 0.0;
    {
        const io::Tokenizer& tokenizer = io::Tokenizer::named("dna");
        const std::vector<std::uint8_t> codes = read_codes(path, length + 1);
        for (std::int64_t t = 0; t < length; ++t) {
            const auto at = static_cast<std::size_t>(t);
            static_cast<std::uint8_t*>(ids.view().data())[t] = codes[at] & 0x7FU;
            static_cast<std::uint8_t*>(targets.view().data())[t] = codes[at + 1] & 0x7FU;
            const bool counts = tokenizer.is_acgt(codes[at + 1]);
            static_cast<float*>(weight.view().data())[t] = counts ? 1.0F : 0.0F;
            weights += counts ? 1.0 : 0.0;
        }
    }
    const double loss =
        model::training_step(context, model, {ids.view(), targets.view(), weight.view()}, chunk,
                             1.0 / weights, states, gradients);

    const std::int64_t chunks = ceil_div(length, round_up(chunk, context.table.gradient_tile));
    const std::int64_t starts = chunks * states.bytes();
    const std::int64_t tokens = ids.bytes() + targets.bytes() + weight.bytes();
    std::printf("%12s %10.4f %14s %14s %14s", format_count(length).c_str(), loss / weights,
                format_count(memory.high_water() - starts).c_str(), format_count(starts).c_str(),
                format_count(tokens).c_str());
    std::fflush(stdout);
}

/// Peak resident bytes of a process that makes the step.
std::int64_t resident(const std::string& path,
                      const std::string& preset,
                      std::int64_t length,
                      std::int64_t chunk) {
    const pid_t child = ::fork();
    if (child == 0) {
        int status = 1;
        try {
            step(path, preset, length, chunk);
            status = 0;
        } catch (const std::exception& error) {
            std::fprintf(stderr, "flat_memory: %s\n", error.what());
        }
        std::_Exit(status);
    }
    int status = 0;
    rusage usage{};
    if (child < 0 || ::wait4(child, &status, 0, &usage) != child || status != 0) {
        throw Error(ErrorCode::io, concat("no step of ", length, " positions"));
    }
    return std::int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: flat_memory genome.fa.gz [chunk [preset [length …]]]\n");
        return 2;
    }
    try {
        const std::string preset = argc > 3 ? argv[3] : "tiny";
        const std::int64_t chunk = argc > 2 ? parse_size(argv[2], SizeUnits::decimal) : 4096;
        std::vector<std::int64_t> lengths;
        for (int i = 4; i < argc; ++i) {
            lengths.push_back(parse_size(argv[i], SizeUnits::decimal));
        }
        if (lengths.empty()) {
            lengths = {64'000, 1'000'000, 4'000'000};
        }
        std::printf("preset %s, chunks of %lld, %d threads; bytes\n", preset.c_str(),
                    static_cast<long long>(chunk), kThreads);
        std::printf("%12s %10s %14s %14s %14s %14s\n", "length", "nats", "activations",
                    "saved states", "tokens", "resident");
        std::fflush(stdout);
        for (const std::int64_t length : lengths) {
            std::printf(" %14s\n", format_count(resident(argv[1], preset, length, chunk)).c_str());
            std::fflush(stdout);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "flat_memory: %s\n", error.what());
        return 1;
    }
    return 0;
}
