// The loss on bases that are held out of training.
#pragma once

#include "genomics_io/region.hpp"
#include "genomics_io/token_store.hpp"
#include "model/model.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"

#include <cstdint>
#include <vector>

namespace mambase::pipelines {

struct ValidationResult {
    std::int64_t bases = 0;  // A, C, G and T that were predicted
    double nats = 0.0;       // their mean −log p over A, C, G, T; weight 1, as evaluate counts
};

/// A stretch of codes of `store`, read from a reset state on the forward strand; what is before
/// score_begin does not count.
TaggedPiece stored_window(const io::TokenStore& store,
                          const io::Region& window,
                          std::int64_t score_begin,
                          std::int64_t tag);

/// Reads each window (of codes of `store`, forward strand) from a reset state and predicts all its
/// bases but the first. The sum is by window and position, whatever the chunk and the threads.
ValidationResult validate_model(Engine& engine,
                                const model::Model& model,
                                const io::TokenStore& store,
                                const std::vector<io::Region>& windows,
                                CallSize size);

}  // namespace mambase::pipelines
