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

}  // namespace mambase::pipelines
