#include "pipelines/tally.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

void PairedDifference::add(double difference, std::int64_t block_bases) {
    const auto n = static_cast<double>(block_bases);
    ++blocks;
    bases += n;
    nats += difference;
    dd += difference * difference;
    dn += difference * n;
    nn += n * n;
}

void PairedDifference::add(const PairedDifference& other) {
    blocks += other.blocks;
    bases += other.bases;
    nats += other.nats;
    dd += other.dd;
    dn += other.dn;
    nn += other.nn;
}

double PairedDifference::bits() const {
    return nats / bases / std::log(2.0);
}

double PairedDifference::standard_error() const {
    if (blocks < 2) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    const double mean = nats / bases;
    const double squares = std::max(0.0, dd - 2.0 * mean * dn + mean * mean * nn);
    const auto b = static_cast<double>(blocks);
    return std::sqrt(squares * b / (b - 1.0)) / bases / std::log(2.0);
}

}  // namespace mambase::pipelines
