// Regions as people write them: "chr1", "chr1:5", "chr1:1,001-2,000", "{HLA:1}:1-2".
#pragma once

#include "genomics_io/indexed_fasta.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

/// Forward coordinates, 0-based half-open.
struct Region {
    std::int64_t contig = 0;  // index in the list of contigs
    std::int64_t begin = 0;
    std::int64_t end = 0;
    friend bool operator==(const Region&, const Region&) = default;
};

/// A region with the name that tables give it.
struct NamedRegion {
    Region region;
    std::string name;
};

/// Text is 1-based inclusive, as samtools reads it: "chr" is all of it, "chr:5" and "chr:5-" from
/// base 5 to the end, "chr:-9" the first nine; commas may part thousands. A name may contain ':'
/// (the longest name that is known wins; braces around the name say it outright). An end past the
/// contig's is clipped to it. Error{not_found}: no such contig (with the likely spelling, where
/// "chr" is the difference); Error{usage}: no range, begins at 0 or past the end, runs backwards.
Region parse_region(std::string_view text, const std::vector<Contig>& contigs);

/// "name:first-last", 1-based inclusive; a name with ':' in braces.
std::string format_region(std::string_view name, std::int64_t begin, std::int64_t end);

/// Sorted, with those that overlap (not those that only touch) joined.
std::vector<Region> join_overlapping(std::vector<Region> regions);

}  // namespace mambase::io
