// How the input of a training run is divided, and its digest.
#pragma once

#include "genomics_io/region.hpp"
#include "genomics_io/token_store.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// Fewer validation windows than this say nothing about which model is better.
inline constexpr std::int64_t kFewestValidationWindows = 10;

/// What the user says is for training and for validation; an empty list says nothing.
struct GivenRegions {
    std::vector<io::Region> train;
    std::vector<io::Region> valid;
};

/// Intervals of a BED file (may be "") and whole contigs, sorted, overlapping ones joined. A name
/// may be several, parted by commas. Errors as of io::read_bed; Error{not_found} for a contig that
/// is not there.
std::vector<io::Region> read_regions(const io::TokenStore& store,
                                     const std::string& bed,
                                     const std::vector<std::string>& contigs);

struct DataSplit {
    std::vector<io::Region> train;
    /// The bases held out. None: no validation.
    std::vector<io::Region> held_out;
    /// Windows of `context` inputs (context + 1 bases) end to end in the bases held out, each
    /// within a run and with a base to predict; forward strand.
    std::vector<io::Region> valid;
};

/// Trains on the regions given for that, by default on everything, and holds out those given for
/// validation, by default the last 5 % of each contig over 1 Mb, or of the longest contig where
/// there is none such, as far as these are among the regions to train on. Unless both are given,
/// `context` bases on either side of what is held out are in neither part. Where what is held out
/// by default has fewer than ten windows, nothing is. Error{usage}: the regions given overlap, or
/// those for validation hold no window.
DataSplit split_data(const io::TokenStore& store,
                     std::int64_t context,
                     const GivenRegions& given = {});

/// How many of the regions hold no window of `context` inputs, for their length alone.
std::int64_t count_short(const std::vector<io::Region>& regions, std::int64_t context);

/// "default" where there are none, else their bases and a digest of contigs and positions.
std::string describe_regions(const io::TokenStore& store, const std::vector<io::Region>& regions);

/// At most `count` of the windows, evenly spaced.
std::vector<io::Region> thin_out(const std::vector<io::Region>& windows, std::int64_t count);

/// Hexadecimal SHA-256 over the names, lengths and codes (case included) of all contigs in order,
/// and over the tokenizer: the same sequence has the same digest however it is compressed or split
/// into files.
std::string data_digest(const io::TokenStore& store);

}  // namespace mambase::pipelines
