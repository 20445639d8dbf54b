#include "pipelines/evaluate_plan.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <algorithm>
#include <tuple>

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

}  // namespace

Reading EvaluateWork::read(std::int64_t reading,
                           const io::ReadOptions& options,
                           const io::WindowOptions& windows) const {
    const auto i = static_cast<std::size_t>(reading);
    if (!by_parts()) {
        return read_file(inputs[i], options);
    }
    const Part& part = parts[i];
    return read_part(fasta[static_cast<std::size_t>(part.of.input)], part.of.contig, part.bases,
                     io::Strand::forward, windows);
}

EvaluateWork plan_evaluation(const EvaluateOptions& options, const Observer& observer) {
    EvaluateWork work;
    work.inputs = options.reading.inputs;
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
    return work;
}

}  // namespace mambase::pipelines
