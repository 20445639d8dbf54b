#include "genomics_io/token_store.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/run_scanner.hpp"
#include "genomics_io/segment_encoder.hpp"

#include <memory>
#include <utility>

namespace mambase::io {

TokenStore::TokenStore(const Tokenizer& tokenizer, std::int64_t gap)
    : tokenizer_(&tokenizer), gap_(gap) {
    WindowOptions options;
    options.gap = gap;
    options.validate();
}

Skipped TokenStore::add(const std::string& path, const ReadOptions& options) {
    const std::unique_ptr<SequenceSource> source = open_sequences(path, options);
    StoredContig contig;
    Segment segment;
    while (source->next(segment)) {
        if (segment.first) {
            contig = {};
            contig.file = path;
            contig.summary.record = segment.record;
            contig.summary.name = segment.name;
            const auto there = find(segment.name);
            if (there && !source->has_reads()) {
                throw Error(ErrorCode::format,
                            concat("the name '", segment.name, "' is that of a record of ",
                                   contigs_[static_cast<std::size_t>(*there)].file, " already"))
                    .at(path)
                    .record(segment.record, segment.name);
            }
        }
        const std::size_t length = contig.codes.size();
        contig.codes.resize(length + segment.bases.size());
        encode_segment(*tokenizer_, path, segment, Strand::forward, 0, segment.bases.size(),
                       contig.codes.data() + length, contig.summary);
        if (segment.last) {
            contig.runs = find_runs(contig.codes, *tokenizer_, gap_);
            contig.summary.in_gaps = contig.summary.length;
            for (const Interval& run : contig.runs) {
                contig.summary.in_gaps -= run.size();
            }
            by_name_.emplace(contig.summary.name, static_cast<std::int64_t>(contigs_.size()));
            contigs_.push_back(std::exchange(contig, {}));
        }
    }
    return source->skipped();
}

std::vector<Contig> TokenStore::names() const {
    std::vector<Contig> out;
    out.reserve(contigs_.size());
    for (const StoredContig& contig : contigs_) {
        out.push_back({contig.summary.name, contig.summary.length});
    }
    return out;
}

std::optional<std::int64_t> TokenStore::find(std::string_view name) const {
    const auto found = by_name_.find(std::string(name));
    return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

std::int64_t TokenStore::total_bases() const {
    std::int64_t total = 0;
    for (const StoredContig& contig : contigs_) {
        total += contig.summary.length;
    }
    return total;
}

}  // namespace mambase::io
