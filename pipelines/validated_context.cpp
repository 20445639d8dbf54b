#include "pipelines/validated_context.hpp"

#include "base/checked_math.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/training_data.hpp"
#include "pipelines/validation.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kMultiples[] = {4, 16, 64};
constexpr std::int64_t kFewestBlocks = 10;
constexpr std::int64_t kFewBlocks = 16;  // of a short run
constexpr std::int64_t kMostBlocks = 256;
constexpr std::int64_t kAlwaysAffordable = 4'000'000;  // bases read for one context

/// Where the state starts from which a base of the block is read; as window.hpp has it, but for the
/// run's start. Below 0 where there is no such point.
std::int64_t state_start(std::int64_t block_begin, std::int64_t context) {
    return (block_begin / context - 1) * context;
}

/// The blocks of the grid that lie in `held_out`, and a whole context after their run's start.
std::vector<io::Region> find_blocks(const io::TokenStore& store,
                                    const std::vector<io::Region>& held_out,
                                    std::int64_t block,
                                    std::int64_t context) {
    std::vector<io::Region> out;
    for (const io::Region& region : held_out) {
        for (const io::Interval& run :
             store.contigs()[static_cast<std::size_t>(region.contig)].runs) {
            const std::int64_t end = std::min(run.end, region.end);
            for (std::int64_t begin = round_up(std::max(run.begin, region.begin), block);
                 begin + block <= end; begin += block) {
                if (state_start(begin, context) >= run.begin) {
                    out.push_back({region.contig, begin, begin + block});
                }
            }
        }
    }
    return out;
}

struct BlockLoss {
    double nats = 0.0;
    std::int64_t bases = 0;
};

/// The losses of the blocks, read with that context. Empty where a stop is asked for.
std::optional<std::vector<BlockLoss>> read_blocks(Engine& engine,
                                                  const model::Model& model,
                                                  const io::TokenStore& store,
                                                  const std::vector<io::Region>& blocks,
                                                  std::int64_t context,
                                                  CallSize size,
                                                  const Runtime& runtime) {
    std::vector<BlockLoss> out(blocks.size());
    LossLanes lanes(engine, model, store.tokenizer(), size, [&out](const LossRows& rows) {
        BlockLoss& loss = out[static_cast<std::size_t>(rows.source.tag)];
        for (std::int64_t i = 0; i < rows.count; ++i) {
            loss.nats += rows.nats[i];
            loss.bases += rows.scored[i] != 0.0F ? 1 : 0;
        }
    });
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (runtime.stop_requested()) {
            return std::nullopt;
        }
        const io::Region& block = blocks[i];
        runtime.observer.progress(
            concat("context ", format_count(context), ": block ", i + 1, "/", blocks.size()));
        lanes.add(stored_window(store, {block.contig, state_start(block.begin, context), block.end},
                                block.begin, static_cast<std::int64_t>(i)));
    }
    lanes.flush();
    return out;
}

ContextTrial compare(std::int64_t context,
                     const std::vector<BlockLoss>& first,
                     const std::vector<BlockLoss>& longer) {
    ContextTrial trial;
    trial.context = context;
    std::vector<double> differences;
    for (std::size_t i = 0; i < first.size(); ++i) {
        if (first[i].bases > 0) {  // not all N
            const auto bases = static_cast<double>(first[i].bases);
            differences.push_back((longer[i].nats - first[i].nats) / bases);
            trial.nats += longer[i].nats / bases;
            trial.bases += first[i].bases;
        }
    }
    trial.blocks = static_cast<std::int64_t>(differences.size());
    if (trial.blocks < kFewestBlocks) {
        return trial;
    }
    const auto count = static_cast<double>(trial.blocks);
    trial.nats /= count;
    for (const double difference : differences) {
        trial.difference += difference / count;
    }
    double squares = 0.0;
    for (const double difference : differences) {
        squares += (difference - trial.difference) * (difference - trial.difference);
    }
    trial.standard_error = std::sqrt(squares / (count - 1.0) / count);
    return trial;
}

}  // namespace

std::optional<ValidatedContext> validate_context(Engine& engine,
                                                 const model::Model& model,
                                                 const io::TokenStore& store,
                                                 const std::vector<io::Region>& held_out,
                                                 std::int64_t context,
                                                 std::int64_t trained_bases,
                                                 CallSize size,
                                                 const Runtime& runtime) {
    constexpr std::int64_t longest = std::end(kMultiples)[-1];
    const std::int64_t affordable = trained_bases / 10;
    // A state is read through one to two contexts before the block.
    const std::int64_t most =
        std::clamp(affordable / checked_mul(2 * longest, context), kFewBlocks, kMostBlocks);
    ValidatedContext out{context, {}};
    for (const std::int64_t multiple : kMultiples) {
        const std::int64_t longer = checked_mul(multiple, context);
        if (checked_mul(most, 2 * longer) > std::max(affordable, kAlwaysAffordable)) {
            break;
        }
        const auto blocks = thin_out(find_blocks(store, held_out, context, longer), most);
        const auto first = read_blocks(engine, model, store, blocks, context, size, runtime);
        const auto losses =
            first ? read_blocks(engine, model, store, blocks, longer, size, runtime) : first;
        if (!losses) {
            return std::nullopt;
        }
        const ContextTrial trial = compare(longer, *first, *losses);
        if (trial.blocks < kFewestBlocks) {
            break;
        }
        out.trials.push_back(trial);
        if (!trial.is_worse()) {
            out.context = multiple == longest ? 0 : longer;
        }
    }
    return out;
}

}  // namespace mambase::pipelines
