#include "pipelines/tally.hpp"

#include <cmath>

namespace mambase::pipelines {

void Tally::add(const Tally& other) {
    bases += other.bases;
    nats += other.nats;
    correct += other.correct;
}

double Tally::mean_nats() const {
    return nats / static_cast<double>(bases);
}

double Tally::bits() const {
    return mean_nats() / std::log(2.0);
}

double Tally::perplexity() const {
    return std::exp(mean_nats());
}

double Tally::accuracy() const {
    return static_cast<double>(correct) / static_cast<double>(bases);
}

void CaseTally::add(bool is_lower, double nats, bool is_correct) {
    Tally& tally = is_lower ? lower : upper;
    tally.bases += 1;
    tally.nats += nats;
    tally.correct += is_correct ? 1 : 0;
}

void CaseTally::add(const CaseTally& other) {
    upper.add(other.upper);
    lower.add(other.lower);
}

Tally CaseTally::all() const {
    Tally sum = upper;
    sum.add(lower);
    return sum;
}

}  // namespace mambase::pipelines
