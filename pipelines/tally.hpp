// Sums over scored bases, and what they say.
#pragma once

#include <cstdint>

namespace mambase::pipelines {

/// Every base has weight 1.
struct Tally {
    std::int64_t bases = 0;
    double nats = 0.0;         // sum of −log p(base)
    std::int64_t correct = 0;  // bases that were the most likely of the four

    void add(const Tally& other);
    double mean_nats() const;   // NaN without bases, as those below
    double bits() const;        // a base
    double perplexity() const;  // exp of mean_nats
    double accuracy() const;
};

/// Upper and lower (soft-masked) case apart.
struct CaseTally {
    Tally upper;
    Tally lower;

    /// One base.
    void add(bool is_lower, double nats, bool is_correct);
    void add(const CaseTally& other);
    Tally all() const;
};

/// How two readings of the same bases differ, block by block.
struct PairedDifference {
    std::int64_t blocks = 0;
    double bases = 0.0;
    double nats = 0.0;  // sum over blocks of d, the difference of their nats
    // sums of squares and products of d and of n, a block's bases
    double dd = 0.0;
    double dn = 0.0;
    double nn = 0.0;

    /// One block: the nats of the second reading less those of the first.
    void add(double difference, std::int64_t block_bases);
    void add(const PairedDifference& other);
    double bits() const;  // a base; NaN without bases
    /// Of bits(), from the spread of d - (mean a base) n over the blocks, each of which counts as
    /// one draw; NaN with fewer than two.
    double standard_error() const;
};

}  // namespace mambase::pipelines
