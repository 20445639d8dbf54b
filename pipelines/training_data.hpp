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

struct DataSplit {
    std::vector<io::Region> train;
    /// Windows of `context` inputs (context + 1 bases) end to end in the bases held out, each
    /// within a run and with a base to predict; forward strand. Empty: no validation.
    std::vector<io::Region> valid;
};

/// Holds out the last 5 % of each contig over 1 Mb, or of the longest contig where there is none
/// such, with `context` bases before them in neither part. Where they hold fewer than ten windows,
/// everything is for training.
DataSplit split_data(const io::TokenStore& store, std::int64_t context);

/// At most `count` of the windows, evenly spaced.
std::vector<io::Region> thin_out(const std::vector<io::Region>& windows, std::int64_t count);

/// Hexadecimal SHA-256 over the names, lengths and codes (case included) of all contigs in order,
/// and over the tokenizer: the same sequence has the same digest however it is compressed or split
/// into files.
std::string data_digest(const io::TokenStore& store);

}  // namespace mambase::pipelines
