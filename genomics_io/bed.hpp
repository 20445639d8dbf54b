// Intervals from a BED file.
#pragma once

#include "genomics_io/region.hpp"

#include <string>
#include <vector>

namespace mambase::io {

/// The intervals in the order of the file (0-based half-open, as BED is). Plain, gzip or bgzip, "-"
/// is standard input. Columns parted by tabs (or, in a line without any, by blanks); those after
/// the third are left alone; blank lines, '#', "track" and "browser" lines are skipped. An end past
/// the contig's is clipped. Errors name file and line: not_found for a contig that is not there;
/// format for fewer than three columns, numbers that are none, an interval that is empty, runs
/// backwards or begins past the contig's end.
std::vector<Region> read_bed(const std::string& path, const std::vector<Contig>& contigs);

/// The same with the names of the fourth column; where there is none, or ".", "chr:first-last".
std::vector<NamedRegion> read_named_bed(const std::string& path,
                                        const std::vector<Contig>& contigs);

}  // namespace mambase::io
