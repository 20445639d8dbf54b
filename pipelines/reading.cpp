#include "pipelines/reading.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/bed.hpp"
#include "genomics_io/open.hpp"

#include <algorithm>
#include <tuple>

namespace mambase::pipelines {

void ReadingOptions::collect_violations(std::vector<std::string>& out) const {
    if (inputs.empty()) {
        out.emplace_back("no input file");
    }
    if (std::count(inputs.begin(), inputs.end(), "-") > 1) {
        out.emplace_back("standard input can be read once");
    }
    if (has_regions() && inputs.size() > 1) {
        out.emplace_back("regions need exactly one input file");
    }
    if (has_regions() && inputs.size() == 1 && inputs.front() == "-") {
        out.emplace_back("regions need a file that can be indexed, not standard input");
    }
    if (context && (*context < 0 || *context > kMostContext)) {
        out.emplace_back(
            concat("the context is a number of bases from 1 to 2^40, or whole, not ", *context));
    }
    if (gap < 1) {
        out.emplace_back(concat("the gap is at least 1 base, not ", gap));
    }
    if (shard && (shard->count < 1 || shard->count > kMostShards || shard->index < 0 ||
                  shard->index >= shard->count)) {
        out.push_back(concat("a shard is i/n with i from 1 to n and n at most ", kMostShards,
                             ", not ", shard->index + 1, "/", shard->count));
    }
    if (chunk < 0) {
        out.emplace_back(concat("the chunk is at least 1 base, not ", chunk));
    }
}

void throw_violations(const std::vector<std::string>& violations) {
    std::string message;
    for (const std::string& line : violations) {
        message += message.empty() ? line : "; " + line;
    }
    MAMBASE_REQUIRE(violations.empty(), ErrorCode::usage, message);
}

namespace {

const io::Tokenizer& tokenizer_for(const model::Model& model, const std::string& asked) {
    std::string chosen = asked;
    if (model.provenance()) {
        chosen = asked.empty() ? model.provenance()->tokenizer : asked;
    } else if (asked.empty()) {
        const std::int64_t vocabulary = model.config().vocab_size;
        if (vocabulary >= 12 && vocabulary <= 16) {
            chosen = "dna";
        } else if (vocabulary >= 256) {
            chosen = "bytes";
        }
        MAMBASE_REQUIRE(!chosen.empty(), ErrorCode::usage,
                        concat("the model does not name its tokenizer, and its vocabulary of ",
                               vocabulary, " does not tell; name it (dna or bytes)"));
    }
    const io::Tokenizer& tokenizer = io::Tokenizer::named(chosen);
    model.require_tokenizer(tokenizer.name(), tokenizer.hash());
    const auto acgt = tokenizer.acgt();
    const int largest = std::max<int>(tokenizer.n(), *std::max_element(acgt.begin(), acgt.end()));
    MAMBASE_REQUIRE(largest < model.config().vocab_size, ErrorCode::usage,
                    concat("tokenizer ", chosen, " has ids up to ", largest,
                           ", the model's vocabulary ends at ", model.config().vocab_size - 1));
    return tokenizer;
}

}  // namespace

const io::Tokenizer& choose_tokenizer(const model::Model& model,
                                      const std::string& origin,
                                      const std::string& asked) {
    try {
        return tokenizer_for(model, asked);
    } catch (Error& error) {
        throw error.at(origin);
    }
}

std::int64_t choose_context(const model::Model& model,
                            const ReadingOptions& options,
                            const Observer& observer) {
    const std::int64_t validated = model.context_or_default();
    if (!model.provenance()) {
        observer.warning(concat("the model does not say what context it was validated for; taking ",
                                validated, " bases"));
    }
    if (!options.context) {
        return validated;
    }
    const std::int64_t asked = *options.context;
    const bool past = validated != kWholeContext && (asked == kWholeContext || asked > validated);
    if (past) {
        observer.warning(concat("context ", asked == kWholeContext ? "whole" : format_count(asked),
                                " is past the ", format_count(validated),
                                " bases the model was validated for"));
    }
    return asked;
}

io::WindowOptions window_options(const ReadingOptions& options,
                                 std::int64_t context,
                                 std::int64_t chunk) {
    io::WindowOptions windows;
    windows.context = context;
    windows.gap = options.gap;
    windows.piece = std::max(windows.piece, chunk);
    return windows;
}

std::vector<io::NamedRegion> named_regions(const ReadingOptions& options,
                                           const std::vector<io::Contig>& contigs) {
    std::vector<io::NamedRegion> regions;
    for (const std::string& text : options.regions) {
        try {
            regions.push_back({io::parse_region(text, contigs), text});
        } catch (Error& error) {
            throw error.at(options.inputs.front());
        }
    }
    if (!options.bed.empty()) {
        const std::vector<io::NamedRegion> more = io::read_named_bed(options.bed, contigs);
        regions.insert(regions.end(), more.begin(), more.end());
    }
    return regions;
}

void note_contigs(const std::vector<io::Contig>& contigs, io::Circles& circles) {
    for (const io::Contig& contig : contigs) {
        circles.has(contig.name);
    }
}

std::vector<io::Region> resolve_regions(const ReadingOptions& options,
                                        const std::vector<io::Contig>& contigs) {
    std::vector<io::Region> regions;
    for (const io::NamedRegion& named : named_regions(options, contigs)) {
        regions.push_back(named.region);
    }
    return regions;
}

std::optional<io::IndexedFasta> open_indexable(const std::string& path,
                                               const ReadingOptions& options,
                                               const Observer& observer) {
    const bool needed = options.has_regions();
    if (!io::can_be_indexed(path)) {
        if (needed) {
            throw Error(ErrorCode::usage,
                        "regions need random access, so FASTA that is plain or bgzip; recompress "
                        "it with bgzip")
                .at(path == "-" ? "standard input" : path);
        }
        return std::nullopt;
    }
    try {
        return io::IndexedFasta::open(path, options.read_options(), observer);
    } catch (const Error& error) {
        if (needed || error.code() != ErrorCode::unsupported) {
            throw;
        }
        return std::nullopt;
    }
}

void tell_letters(const io::RecordSummary& record, const Observer& observer) {
    if (record.length == 0) {
        observer.warning(concat(record.name, ": no bases"));
    }
    if (record.ambiguous > 0) {
        observer.info(
            concat(record.name, ": ", format_count(record.ambiguous), " IUPAC codes read as N"));
    }
}

void tell_skipped(const std::string& path, const io::Skipped& skipped, const Observer& observer) {
    if (skipped.secondary > 0 || skipped.supplementary > 0) {
        observer.info(concat(path, ": ", format_count(skipped.secondary), " secondary and ",
                             format_count(skipped.supplementary),
                             " supplementary alignments passed over"));
    }
}

std::vector<io::Region> joined(std::vector<io::Region> regions) {
    std::sort(regions.begin(), regions.end(), [](const io::Region& a, const io::Region& b) {
        return std::tie(a.contig, a.begin, a.end) < std::tie(b.contig, b.begin, b.end);
    });
    std::vector<io::Region> out;
    for (const io::Region& region : regions) {
        if (!out.empty() && out.back().contig == region.contig && region.begin <= out.back().end) {
            out.back().end = std::max(out.back().end, region.end);
        } else {
            out.push_back(region);
        }
    }
    return out;
}

}  // namespace mambase::pipelines
