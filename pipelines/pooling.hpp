// What a row of embeddings stands for.
#pragma once

#include <cstdint>
#include <string>

namespace mambase::pipelines {

enum class Pool : std::uint8_t {
    none,  // a row a base
    bins,  // mean over `bin` bases, counted from the record's start
    mean,  // over a record, or a region
    max,   // the largest number of each channel
    last,  // of the bases the one that was read last: right-most, on the reverse strand left-most
};

/// Pools leave out what is not A, C, G or T.
struct Pooling {
    Pool how = Pool::none;
    std::int64_t bin = 0;  // of Pool::bins

    /// 0: a row a base.
    static Pooling bins(std::int64_t bin) { return {bin == 0 ? Pool::none : Pool::bins, bin}; }
    /// One row a record or region.
    bool is_whole() const { return how != Pool::none && how != Pool::bins; }
    /// Of `bases` bases.
    std::int64_t rows(std::int64_t bases) const;
};

/// "none", "bin:1000", "mean", …
std::string name(const Pooling& pooling);

}  // namespace mambase::pipelines
