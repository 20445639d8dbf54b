#include "pipelines/evaluate_plan.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Every base of the regions once, and which of them have a line.
void add_regions(EvaluateWork& work, const EvaluateOptions& options) {
    const std::vector<io::Contig>& contigs = work.fasta.front().contigs();
    std::vector<io::Region> asked;
    for (const io::NamedRegion& named : named_regions(options.reading, contigs)) {
        if (options.by == EvaluateOptions::By::region) {
            work.regions.push_back({named.region, std::ssize(asked)});
            work.region_names.push_back(named.name);
        }
        asked.push_back(named.region);
    }
    std::sort(work.regions.begin(), work.regions.end(),
              [](const LineRegion& a, const LineRegion& b) {
                  return std::tie(a.region.contig, a.region.begin, a.index) <
                         std::tie(b.region.contig, b.region.begin, b.index);
              });
    for (const io::Region& region : joined(std::move(asked))) {
        const std::string& name = contigs[static_cast<std::size_t>(region.contig)].name;
        work.parts.push_back(
            {{0, std::ssize(work.parts), region.contig, name}, {region.begin, region.end}});
    }
}

/// All contigs of all inputs, if all of them can be read by random access.
bool add_contigs(EvaluateWork& work, const EvaluateOptions& options, const Observer& observer) {
    for (const std::string& path : work.inputs) {
        std::optional<io::IndexedFasta> fasta = open_indexable(path, options.reading, observer);
        if (!fasta) {
            work.fasta.clear();
            return false;
        }
        work.fasta.push_back(std::move(*fasta));
    }
    for (std::size_t input = 0; input < work.fasta.size(); ++input) {
        const std::vector<io::Contig>& contigs = work.fasta[input].contigs();
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            const auto number = static_cast<std::int64_t>(i);
            work.parts.push_back(
                {{static_cast<std::int64_t>(input), number, number, contigs[i].name},
                 {0, contigs[i].length}});
        }
    }
    return true;
}

/// Leaves the parts that are the shard's own.
void take_share(EvaluateWork& work, std::int64_t grid) {
    std::vector<io::Interval> intervals;
    for (const EvaluateWork::Part& part : work.parts) {
        const auto input = static_cast<std::size_t>(part.of.input);
        const std::int64_t length =
            work.fasta[input].contigs()[static_cast<std::size_t>(part.of.contig)].length;
        work.rolls[input].add(part.of.name, part.bases, length);
        intervals.push_back(part.bases);
    }
    std::vector<EvaluateWork::Part> own;
    if (work.cut == ShardCut::grid) {
        const auto shares = share_on_grid(*work.shard, intervals, grid);
        for (std::size_t i = 0; i < shares.size(); ++i) {
            if (shares[i]) {
                own.push_back({std::move(work.parts[i].of), *shares[i]});
            }
        }
    } else {
        std::copy_if(work.parts.begin(), work.parts.end(), std::back_inserter(own),
                     [&](const EvaluateWork::Part& part) {
                         return work.shard->owns(part.of.input, part.of.number);
                     });
    }
    work.parts = std::move(own);
}

}  // namespace

Reading EvaluateWork::read(std::int64_t reading,
                           const io::ReadOptions& options,
                           const io::WindowOptions& windows) {
    const auto i = static_cast<std::size_t>(reading);
    if (!by_parts()) {
        Reading file = read_file(inputs[i], options);
        if (shard) {
            rolls[i] = {};
            file.source = own_records(std::move(file.source), *shard, reading, &rolls[i]);
        }
        file.source = io::with_circles(std::move(file.source), circles, windows);
        return file;
    }
    const Part& part = parts[i];
    return read_part(fasta[static_cast<std::size_t>(part.of.input)], part.of.contig, part.bases,
                     io::Strand::forward, windows, circles);
}

void EvaluateWork::require_circles() const {
    if (by_parts() || !shard) {
        circles.require_met();
    }
}

EvaluateWork plan_evaluation(const EvaluateOptions& options,
                             const std::vector<std::int64_t>& contexts,
                             const Observer& observer) {
    EvaluateWork work;
    work.inputs = options.reading.inputs;
    work.shard = options.reading.shard;
    work.rolls.resize(work.inputs.size());
    work.circles = io::Circles(options.reading.circular);
    const bool whole = std::count(contexts.begin(), contexts.end(), kWholeContext) > 0;
    for (const std::string& path : work.inputs) {
        if (path != "-" && !exists(path)) {
            throw Error(ErrorCode::not_found, "no such file").at(path);
        }
    }
    if (options.reading.has_regions()) {
        work.fasta.push_back(
            io::IndexedFasta::open(work.inputs.front(), options.reading.read_options(), observer));
        add_regions(work, options);
    }
    if (work.shard) {
        const bool parts = work.by_parts() || (!whole && add_contigs(work, options, observer));
        work.cut = parts && !whole ? ShardCut::grid : ShardCut::record;
        take_share(work, sum_grid(contexts));
    }
    for (const io::IndexedFasta& fasta : work.fasta) {
        note_contigs(fasta.contigs(), work.circles);
    }
    if (work.by_parts()) {
        work.require_circles();
    }
    return work;
}

std::int64_t sum_grid(const std::vector<std::int64_t>& contexts) {
    static_assert(kWholeContext == 0);  // smaller than any other
    return *std::max_element(contexts.begin(), contexts.end());
}

}  // namespace mambase::pipelines
