#include "pipelines/survey.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "model/memory_plan.hpp"
#include "pipelines/lanes.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <sys/stat.h>
#include <system_error>

namespace mambase::pipelines {

namespace {

bool same_file_system(const std::string& a, const std::string& b) {
    struct stat first {};
    struct stat second {};
    return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
           first.st_dev == second.st_dev;
}

void require_space_in(const std::string& directory, std::int64_t bytes, std::string_view what) {
    const std::int64_t space = free_space(directory);
    if (bytes > space) {
        throw Error(ErrorCode::io, concat("not enough space for ", what, ": ", format_bytes(bytes),
                                          " needed, ", format_bytes(space), " free"))
            .at(directory);
    }
}

}  // namespace

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

void require_space(const std::string& output, std::int64_t bytes, std::int64_t waiting) {
    std::error_code ignored;
    if (output == "-" || (exists(output) && !std::filesystem::is_regular_file(output, ignored))) {
        bytes = 0;  // a stream takes none
    }
    const std::string place = parent_directory(output);
    const std::string spool = temporary_directory();
    if (waiting > 0 && same_file_system(place, spool)) {
        require_space_in(place, bytes + waiting, "the output and what waits under TMPDIR");
        return;
    }
    require_space_in(place, bytes, "the output");
    require_space_in(spool, waiting, "what waits under TMPDIR");
}

std::string forward_plan(Engine& engine,
                         const model::Model& model,
                         const io::Tokenizer& tokenizer,
                         CallSize size,
                         std::int64_t row_bytes,
                         std::int64_t bases) {
    const std::int64_t trial = std::min(size.rows, bases);
    const std::int64_t at_once = std::min(size.chunk, bases);
    model::MemoryPlan memory =
        model::plan(engine.context().table, model.config(), 1, at_once, at_once,
                    model::RunMode::forward, engine.context().activations);
    memory.add({"results", row_bytes * at_once});
    double seconds = 0.0;
    for (int run = 0; run < 2 && trial > 0; ++run) {  // the first also touches memory and tables
        LossLanes lanes(engine, model, tokenizer, size, [](const LossRows&) {});
        TaggedPiece piece;
        piece.piece.codes.assign(static_cast<std::size_t>(trial), tokenizer.acgt().front());
        piece.piece.first = true;
        piece.piece.last = true;
        const Stopwatch watch;
        lanes.add(std::move(piece));
        lanes.flush();
        seconds = watch.seconds();
    }
    const double all =
        trial > 0 ? seconds * static_cast<double>(bases) / static_cast<double>(trial) : 0.0;
    return concat(memory.text(), "\n", "time: about ", format_duration(all), " for ",
                  format_bases(static_cast<double>(bases)), " through the model\n");
}

}  // namespace mambase::pipelines
