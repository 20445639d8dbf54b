// How fast FASTA becomes codes and windows, against its bars: plain text at 500 MB/s and more on
// one thread; bgzip at 0.7 of the rate of `bgzip -dc` on one thread, at 0.9 with one more thread on
// both sides.
//
//     io_bench genome.fa.gz [repeats]
//
// Takes a bgzip file, inflates it once to TMPDIR for the plain measurements, and prints medians of
// interleaved repeats. `bgzip` has to be on PATH. Rates are in bytes of inflated text, by the clock
// and by processor time (all threads; on a machine that others use too, the one to look at).
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/fasta_source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <sys/resource.h>
#include <vector>

namespace {

using namespace mambase;

void read_segments(const std::string& path, int threads) {
    const auto source = io::open_fasta(path, {threads, false});
    io::Segment segment;
    while (source->next(segment)) {
    }
}

void read_codes(const std::string& path, int threads) {
    const auto source = io::open_fasta(path, {threads, false});
    const io::Tokenizer& tokenizer = io::Tokenizer::named("dna");
    std::vector<std::uint8_t> codes(std::size_t{1} << 20);
    io::Segment segment;
    while (source->next(segment)) {
        tokenizer.encode(segment.bases, codes.data());
    }
}

void read_windows(const std::string& path, int threads, std::int64_t context) {
    io::WindowOptions options;
    options.context = context;
    io::WindowReader reader(io::open_fasta(path, {threads, false}), io::Tokenizer::named("dna"),
                            options, io::Strand::forward);
    io::WindowPiece piece;
    while (reader.next(piece)) {
    }
}

void run(const std::string& command) {
    if (std::system(command.c_str()) != 0) {
        throw Error(ErrorCode::io, concat("failed: ", command));
    }
}

struct Stage {
    std::string name;
    std::function<void()> body;
    std::vector<double> seconds{};
    std::vector<double> cpu_seconds{};
};

/// Of this process and of the children that have ended.
double cpu_time() {
    double seconds = 0.0;
    for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
        rusage usage{};
        ::getrusage(who, &usage);
        for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
            seconds += static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
        }
    }
    return seconds;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void bench(const std::string& packed, int repeats) {
    const std::string plain = concat(temporary_directory(), "/io_bench.fa");
    run(concat("bgzip -dc '", packed, "' > '", plain, "'"));
    const auto bytes = static_cast<double>(File::open_read(plain).size());
    std::vector<Stage> stages{
        {"plain: bases", [&] { read_segments(plain, 0); }},
        {"plain: codes", [&] { read_codes(plain, 0); }},
        {"plain: windows, whole", [&] { read_windows(plain, 0, 0); }},
        {"plain: windows of 8,192", [&] { read_windows(plain, 0, 8192); }},
        {"bgzip -dc", [&] { run(concat("bgzip -dc '", packed, "' > /dev/null")); }},
        {"bgzip: codes", [&] { read_codes(packed, 0); }},
        {"bgzip -dc -@ 2", [&] { run(concat("bgzip -dc -@ 2 '", packed, "' > /dev/null")); }},
        {"bgzip: codes, two more threads", [&] { read_codes(packed, 2); }},
        {"bgzip: codes, one more thread", [&] { read_codes(packed, 1); }},
    };
    for (int i = 0; i < repeats; ++i) {
        for (Stage& stage : stages) {
            const auto start = std::chrono::steady_clock::now();
            const double cpu_start = cpu_time();
            stage.body();
            stage.cpu_seconds.push_back(cpu_time() - cpu_start);
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
            stage.seconds.push_back(time.count());
        }
    }
    std::printf("%-32s %10s %10s\n", "MB/s", "by clock", "by CPU");
    for (const Stage& stage : stages) {
        std::printf("%-32s %10.0f %10.0f\n", stage.name.c_str(),
                    bytes / median(stage.seconds) / 1e6, bytes / median(stage.cpu_seconds) / 1e6);
    }
    std::remove(plain.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: io_bench genome.fa.gz [repeats]\n");
        return 2;
    }
    try {
        bench(argv[1], argc > 2 ? std::max(1, std::atoi(argv[2])) : 5);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "io_bench: %s\n", error.what());
        return 1;
    }
    return 0;
}
