#include "pipelines/baseline.hpp"

#include "pipelines/reading.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

MarkovBaseline::MarkovBaseline(std::vector<int> orders, const io::Tokenizer& tokenizer)
    : orders_(std::move(orders)),
      tokenizer_(tokenizer),
      model_(*std::max_element(orders_.begin(), orders_.end())),
      sums_(orders_.size()) {
    base_of_id_.fill(-1);
    const std::array<std::uint8_t, 4> acgt = tokenizer.acgt();
    for (std::size_t base = 0; base < acgt.size(); ++base) {
        base_of_id_[acgt[base]] = static_cast<int>(base);
    }
}

void MarkovBaseline::fit(const std::vector<std::string>& files,
                         const io::ReadOptions& options,
                         const Runtime& runtime) {
    WindowFeed feed(
        static_cast<std::int64_t>(files.size()),
        [&](std::int64_t i) { return read_file(files[static_cast<std::size_t>(i)], options); },
        tokenizer_, {.context = kWholeContext});
    Delivery delivery;
    while (feed.next(delivery)) {
        runtime.throw_if_stopped();
        for (const io::RecordSummary& record : delivery.ended) {
            roll_.add(record.name, {0, record.length}, record.length);
        }
        if (!delivery.piece) {
            continue;
        }
        if (delivery.piece->first) {
            model_.end_stretch();
        }
        for (const std::uint8_t code : delivery.piece->codes) {
            const int base = base_of_id_[code & 0x7F];
            if (base >= 0) {
                model_.add(base);
            } else {
                model_.end_stretch();
            }
        }
    }
    model_.fit();
}

void MarkovBaseline::start(std::int64_t grid) {
    grid_ = grid;
    part_ = block_ = -1;
}

void MarkovBaseline::end_block() {
    if (sums_.front().all().bases > 0) {
        blocks_.push_back(std::exchange(sums_, std::vector<CaseTally>(orders_.size())));
    }
}

std::vector<CaseTally> MarkovBaseline::next_block() {
    if (blocks_.empty()) {
        end_block();
    }
    std::vector<CaseTally> out = std::move(blocks_.front());
    blocks_.pop_front();
    return out;
}

void MarkovBaseline::score(const io::WindowPiece& piece, std::int64_t part) {
    const int most = model_.order() + 1;
    std::int64_t position = piece.begin;
    if (piece.first) {
        known_ = 0;
        word_ = 0;
        // Of the warm-up only what the first scored base looks back on is read.
        position = std::max(piece.begin, piece.score_begin - most);
    }
    const std::int64_t unpredicted = piece.first ? piece.begin : -1;
    const std::int64_t end = piece.begin + static_cast<std::int64_t>(piece.codes.size());
    for (; position < end; ++position) {
        const std::uint8_t code = piece.codes[static_cast<std::size_t>(position - piece.begin)];
        const int base = base_of_id_[code & 0x7F];
        if (base < 0) {
            known_ = 0;
            continue;
        }
        word_ = (word_ << 2) | static_cast<std::uint32_t>(base);
        known_ = std::min(known_ + 1, most);
        const bool scored = position >= piece.score_begin && position < piece.score_end;
        if (!scored || position == unpredicted) {
            continue;
        }
        if (part != part_ || block_of(position, grid_) != block_) {
            end_block();
            part_ = part;
            block_ = block_of(position, grid_);
        }
        for (std::size_t i = 0; i < orders_.size(); ++i) {
            const int order = std::min(orders_[i], known_ - 1);
            const std::uint32_t word = word_ & word_mask(order + 1);
            sums_[i].add((code & io::kSoftMask) != 0, model_.nats(order, word),
                         model_.is_best(order, word));
        }
    }
}

}  // namespace mambase::pipelines
