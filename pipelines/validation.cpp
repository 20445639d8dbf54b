#include "pipelines/validation.hpp"

#include <cstddef>

namespace mambase::pipelines {

TaggedPiece stored_window(const io::TokenStore& store,
                          const io::Region& window,
                          std::int64_t score_begin,
                          std::int64_t tag) {
    const auto& codes = store.contigs()[static_cast<std::size_t>(window.contig)].codes;
    TaggedPiece tagged;
    tagged.tag = tag;
    tagged.piece.record = window.contig;
    tagged.piece.begin = window.begin;
    tagged.piece.codes.assign(codes.begin() + window.begin, codes.begin() + window.end);
    tagged.piece.first = true;
    tagged.piece.last = true;
    tagged.piece.score_begin = score_begin;
    tagged.piece.score_end = window.end;
    return tagged;
}

ValidationResult validate_model(Engine& engine,
                                const model::Model& model,
                                const io::TokenStore& store,
                                const std::vector<io::Region>& windows,
                                CallSize size) {
    ValidationResult result;
    double sum = 0.0;
    LossLanes lanes(engine, model, store.tokenizer(), size, [&](const LossRows& rows) {
        for (std::int64_t i = 0; i < rows.count; ++i) {
            sum += rows.nats[i];
            result.bases += rows.scored[i] != 0.0F ? 1 : 0;
        }
    });
    for (const io::Region& window : windows) {
        lanes.add(stored_window(store, window, window.begin, 0));
    }
    lanes.flush();
    result.nats = result.bases > 0 ? sum / static_cast<double>(result.bases) : 0.0;
    return result;
}

}  // namespace mambase::pipelines
