// Where the time of a command goes that reads a file through a model, one rung more at a time on
// the same input: read, tokens, windows, batches, model, sink.
//
//     stage_ladder MODEL FILE [threads [repeats]]
//
// FILE is of any format that the commands read; what it gives is read forward, in windows of the
// model's context. The sink is `embed --strand forward` into an array under TMPDIR: a row a base.
// Medians of repeats in turns, by the clock.
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/observer.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace {

using namespace mambase;
using namespace mambase::pipelines;

struct Rung {
    const char* name;
    std::function<void()> body;
    std::vector<double> seconds{};
};

class Ladder {
  public:
    Ladder(const std::string& model, std::string file, int threads)
        : file_(std::move(file)),
          directory_(model),
          runtime_{.threads = threads, .device = {}, .observer = quiet_, .command_line = {}},
          engine_(runtime_),
          model_(model::Model::load(model, host_allocator()).on_device(engine_.queue())),
          tokenizer_(choose_tokenizer(model_, model, {})) {
        windows_.context = choose_context(model_, {}, quiet_);
    }

    std::int64_t read(bool encode) const {
        const auto source = io::open_sequences(file_, {});
        std::vector<std::uint8_t> codes;
        std::int64_t bases = 0;
        io::Segment segment;
        while (source->next(segment)) {
            bases += std::ssize(segment.bases);
            if (encode) {
                codes.resize(std::max(codes.size(), segment.bases.size()));
                tokenizer_.encode(segment.bases, codes.data());
            }
        }
        return bases;
    }

    /// Hands each window to `take`.
    void windows(const std::function<void(TaggedPiece)>& take) const {
        WindowFeed feed(
            1, [this](std::int64_t) { return read_file(file_, {}); }, tokenizer_, windows_);
        Delivery delivery;
        while (feed.next(delivery)) {
            if (delivery.piece) {
                take({0, std::move(*delivery.piece)});
            }
        }
    }

    void batches() {
        Lanes lanes(engine_, model_, engine_.reading(model_.config(), 0),
                    [](const LaneCall&) { return [] {}; });
        windows([&](TaggedPiece piece) { lanes.add(std::move(piece)); });
        lanes.flush();
    }

    void through_model() {
        HiddenLanes lanes(engine_, model_, engine_.reading(model_.config(), 0), model::kLastLayer,
                          [](const HiddenRows&) {});
        windows([&](TaggedPiece piece) { lanes.add(std::move(piece)); });
        lanes.flush();
    }

    void into_file() const {
        EmbedOptions options;
        options.model = directory_;
        options.reading.inputs = {file_};
        options.output = concat(temporary_directory(), "/stage_ladder.npy");
        options.strand = StrandChoice::forward;
        options.max_output = std::int64_t{1} << 40;
        const EmbedReport report = embed(options, runtime_);
        for (const std::string& path : {report.array, report.rows_table, report.description}) {
            std::remove(path.c_str());
        }
    }

  private:
    std::string file_;
    std::string directory_;
    Observer quiet_;
    Runtime runtime_;
    Engine engine_;
    model::Model model_;
    const io::Tokenizer& tokenizer_;
    io::WindowOptions windows_;
};

void climb(const std::string& model, const std::string& file, int threads, int repeats) {
    Ladder ladder(model, file, threads);
    const auto bases = static_cast<double>(ladder.read(false));
    std::vector<Rung> rungs{
        {"read", [&] { ladder.read(false); }},
        {"tokens", [&] { ladder.read(true); }},
        {"windows", [&] { ladder.windows([](const TaggedPiece&) {}); }},
        {"batches", [&] { ladder.batches(); }},
        {"model", [&] { ladder.through_model(); }},
        {"sink", [&] { ladder.into_file(); }},
    };
    for (int i = 0; i < repeats; ++i) {
        for (Rung& rung : rungs) {
            const auto start = std::chrono::steady_clock::now();
            rung.body();
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
            rung.seconds.push_back(time.count());
        }
    }
    std::printf("%-10s %10s %14s %12s\n", "up to", "s", "more than last", "Mbase/s");
    double before = 0.0;
    for (Rung& rung : rungs) {
        std::sort(rung.seconds.begin(), rung.seconds.end());
        const double median = rung.seconds[rung.seconds.size() / 2];
        std::printf("%-10s %10.3f %14.3f %12.2f\n", rung.name, median, median - before,
                    bases / median / 1e6);
        before = median;
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: stage_ladder MODEL FILE [threads [repeats]]\n");
        return 2;
    }
    try {
        climb(argv[1], argv[2], argc > 3 ? std::max(1, std::atoi(argv[3])) : 1,
              argc > 4 ? std::max(1, std::atoi(argv[4])) : 3);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "stage_ladder: %s\n", error.what());
        return 1;
    }
    return 0;
}
