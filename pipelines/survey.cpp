#include "pipelines/survey.hpp"

#include "base/text.hpp"
#include "model/memory_plan.hpp"
#include "pipelines/lanes.hpp"

#include <algorithm>
#include <chrono>

namespace mambase::pipelines {

SequenceCount count_bases(io::SequenceSource& source) {
    SequenceCount count;
    io::Segment segment;
    while (source.next(segment)) {
        count.records += segment.first ? 1 : 0;
        count.bases += static_cast<std::int64_t>(segment.bases.size());
    }
    return count;
}

std::int64_t bases_computed(std::int64_t bases, std::int64_t context) {
    return context == kWholeContext || bases <= context ? bases : 2 * bases - context;
}

std::string forward_plan(Engine& engine,
                         const model::Model& model,
                         const io::Tokenizer& tokenizer,
                         std::int64_t chunk,
                         std::int64_t bases) {
    const std::int64_t trial = std::min<std::int64_t>({chunk, bases, 4096});
    const model::MemoryPlan memory =
        model::plan(engine.context().table, model.config(), 1, std::min(chunk, bases),
                    std::min(chunk, bases), model::RunMode::forward, engine.context().activations);
    double seconds = 0.0;
    for (int run = 0; run < 2 && trial > 0; ++run) {  // the first also touches memory and tables
        HiddenLanes lanes(engine, model, trial, model::kLastLayer, [](const HiddenRows&) {});
        TaggedPiece piece;
        piece.piece.codes.assign(static_cast<std::size_t>(trial), tokenizer.acgt().front());
        piece.piece.first = true;
        piece.piece.last = true;
        const auto start = std::chrono::steady_clock::now();
        lanes.add(std::move(piece));
        lanes.flush();
        seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    const double all =
        trial > 0 ? seconds * static_cast<double>(bases) / static_cast<double>(trial) : 0.0;
    return concat(memory.text(), "\n", "time: about ", format_duration(all), " for ",
                  format_bases(static_cast<double>(bases)), " through the model\n");
}

}  // namespace mambase::pipelines
