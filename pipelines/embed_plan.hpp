// What an embedding run reads and writes, found before anything is computed.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "model/model.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/span_plan.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace mambase::pipelines {

struct EmbedPlan : SpanPlan {
    std::optional<std::int64_t> rows = 0;  // at most; empty: not known (a stream)
    std::int64_t bases = 0;                // that have rows
    std::int64_t computed = 0;             // through the model, both strands counted
    std::int64_t dim = 0;
    std::int64_t waiting = 0;  // bytes under TMPDIR, as far as they are known
};

/// How much of what cannot be read backwards waits under TMPDIR at once, unless one record is more.
struct SpoolLimits {
    std::int64_t records = 0;
    std::int64_t bases = 0;
};

/// Rows whose reverse wait in one spool together, unless one span alone has more.
std::int64_t spool_rows(std::int64_t width);
SpoolLimits spool_limits(const Pooling& pooling, std::int64_t width);

bool both_strands(StrandChoice strand);

/// `width`: D of the model. Errors as of embed() for what cannot be read.
EmbedPlan plan_embedding(const EmbedOptions& options,
                         std::int64_t width,
                         const io::WindowOptions& windows,
                         const Observer& observer);

/// Error{usage} where an array of that many rows is past max_output.
void require_within_limit(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t rows);
/// The same for all rows, and Error{io} where the file systems are too full.
void require_feasible(const EmbedPlan& plan, const EmbedOptions& options);

/// For people: sequence, output, memory and time; several lines.
std::string describe(const EmbedPlan& plan,
                     const EmbedOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context);

}  // namespace mambase::pipelines
