// How long a context a trained model bears: held-out bases, read with more and more of it.
#pragma once

#include "genomics_io/region.hpp"
#include "genomics_io/token_store.hpp"
#include "model/model.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace mambase::pipelines {

/// A context beside the one of training, on the same bases.
struct ContextTrial {
    std::int64_t context = 0;  // N
    std::int64_t blocks = 0;   // stretches of the training context that were compared
    std::int64_t bases = 0;    // scored in them
    double nats = 0.0;         // a base, mean over the blocks
    // Of the loss with the training context to that with this one, mean over the blocks; above 0:
    // this one is worse.
    double difference = 0.0;
    double standard_error = 0.0;  // of it

    bool is_worse() const { return difference > 2.0 * standard_error; }
};

struct ValidatedContext {
    std::int64_t context = 0;          // bases; 0: unbounded
    std::vector<ContextTrial> trials;  // those that there was sequence and time for, ascending
};

/// Reads blocks of `held_out` with 1 and with 4, 16 and 64 times the context of training, each from
/// a state that starts as window.hpp says, and takes the longest of them that is_worse() does not
/// hold of; where that is 64 times, unbounded. A block counts for a context only where its state
/// starts a whole context before it, not at a gap or the record's start; a context with fewer than
/// ten such blocks is not tried, nor one that would take more than a tenth of the bases trained on
/// (or 4 Mb, where that is more). A function of model, data, context and trained_bases alone. Empty
/// where a stop is asked for.
std::optional<ValidatedContext> validate_context(Engine& engine,
                                                 const model::Model& model,
                                                 const io::TokenStore& store,
                                                 const std::vector<io::Region>& held_out,
                                                 std::int64_t context,
                                                 std::int64_t trained_bases,
                                                 CallSize size,
                                                 const Runtime& runtime);

}  // namespace mambase::pipelines
