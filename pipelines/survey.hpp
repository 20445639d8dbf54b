// What a run would take, found before it starts.
#pragma once

#include "genomics_io/source.hpp"
#include "model/model.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/reading.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct SequenceCount {
    std::int64_t records = 0;
    std::int64_t bases = 0;
};

/// Reads a source through, without looking at the letters.
SequenceCount count_bases(io::SequenceSource& source);

/// Bases that the model reads so that `bases` count: nearly twice as many with a context.
std::int64_t bases_computed(std::int64_t bases, std::int64_t context);

/// Error{io} where `output` would have not `bytes` free where it goes, and what waits under TMPDIR
/// not `waiting` there, or the two of them together.
void require_space(const std::string& output, std::int64_t bytes, std::int64_t waiting);

/// Memory of a forward pass in such calls, with `row_bytes` a base of results, and its time for
/// `bases` by the clock of one call: lines of text.
std::string forward_plan(Engine& engine,
                         const model::Model& model,
                         const io::Tokenizer& tokenizer,
                         CallSize size,
                         std::int64_t row_bytes,
                         std::int64_t bases);

}  // namespace mambase::pipelines
