// What a command reads and how much of it a model sees: the options, and the plan they come to.
// Letters, gaps, context and strands are as genomics_io/window.hpp says.
#pragma once

#include "genomics_io/circular.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/indexed_fasta.hpp"
#include "genomics_io/region.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "model/model.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/shard.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// Context "whole": every run from its start, with carried state.
inline constexpr std::int64_t kWholeContext = 0;

inline constexpr std::int64_t kMostContext = std::int64_t{1} << 40;

/// A base's block on the context grid; one for all of them where the grid is kWholeContext.
inline std::int64_t block_of(std::int64_t position, std::int64_t grid) {
    return grid == kWholeContext ? 0 : position / grid;
}

/// Common to the commands that map a model over sequence.
struct ReadingOptions {
    std::vector<std::string> inputs;      // as io::open_sequences reads; "-" is standard input
    std::string reference;                // FASTA that a CRAM was written against; may be empty
    std::vector<std::string> regions;     // "chr", "chr:5", "chr:1,001-2,000"; one indexable input
    std::string bed;                      // intervals, after those of `regions`
    std::optional<std::int64_t> context;  // N or kWholeContext; empty: the model's validated one
    std::vector<std::string> circular;    // names of records that are circles; or "all"
    std::int64_t gap = 1000;              // bases not A, C, G, T that end a run
    std::int64_t chunk = 0;               // bases of a window held at once; 0: as suits the device.
                                          // Changes no result
    std::string tokenizer;                // for a model that does not name its own
    std::optional<Shard> shard;           // only this one's part of the work
    bool ignore_eof = false;              // bgzip, BAM, CRAM without their end marker are fine

    bool has_regions() const { return !regions.empty() || !bed.empty(); }
    io::ReadOptions read_options() const {
        return {.threads = 0, .ignore_eof = ignore_eof, .reference = reference};
    }
    /// Appends one line for each violated rule.
    void collect_violations(std::vector<std::string>& out) const;
};

/// Throws Error{usage} with all of them in one message; nothing where there are none.
void throw_violations(const std::vector<std::string>& violations);

/// The tokenizer that the model was trained with; for a directory without our key, by its
/// vocabulary (12 to 16: "dna"; 256: "bytes"). Error{format} where `asked` (may be empty) is not
/// the model's; Error{usage} where nothing tells. `origin` is what errors name the model by.
const io::Tokenizer& choose_tokenizer(const model::Model& model,
                                      const std::string& origin,
                                      const std::string& asked);

/// The context to read with: what is asked for, else the model's validated one. Warns past that,
/// and where the model does not say one.
std::int64_t choose_context(const model::Model& model,
                            const ReadingOptions& options,
                            const Observer& observer);

/// `chunk`: as Engine::chunk gives it.
io::WindowOptions window_options(const ReadingOptions& options,
                                 std::int64_t context,
                                 std::int64_t chunk);

/// The regions that are asked for, those of `regions` first, in order. Error{not_found, usage} as
/// io::parse_region and io::read_bed. The name is the text of `regions`, or as of read_named_bed.
std::vector<io::NamedRegion> named_regions(const ReadingOptions& options,
                                           const std::vector<io::Contig>& contigs);
std::vector<io::Region> resolve_regions(const ReadingOptions& options,
                                        const std::vector<io::Contig>& contigs);

/// Tells `circles` of all contigs of a file that has an index.
void note_contigs(const std::vector<io::Contig>& contigs, io::Circles& circles);

/// The file for random access: FASTA that is plain or bgzip, its lines of one length in a record;
/// empty for all else. With regions, which need it, Error{usage} for all else, Error{unsupported}
/// for uneven lines.
std::optional<io::IndexedFasta> open_indexable(const std::string& path,
                                               const ReadingOptions& options,
                                               const Observer& observer);

/// What a reader should know of a record: no bases (a warning), IUPAC codes that read as N.
void tell_letters(const io::RecordSummary& record, const Observer& observer);

/// What the source of `path` passed over, if anything.
void tell_skipped(const std::string& path, const io::Skipped& skipped, const Observer& observer);

/// Every base once: sorted by contig and position, overlapping and touching regions joined.
std::vector<io::Region> joined(std::vector<io::Region> regions);

}  // namespace mambase::pipelines
