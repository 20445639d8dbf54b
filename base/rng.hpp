// Counter-based random numbers: a draw is a function of (seed, stream, counter) and of nothing
// else, so that training resumes, shards and threads without any generator state.
//
// Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
#pragma once

#include <array>
#include <cstdint>

namespace mambase {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// The draws of one (seed, stream), by counter.
class CounterRng {
  public:
    CounterRng(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

    std::uint64_t bits(std::uint64_t counter) const;
    /// Uniform in [0, 1), 53 bits.
    double uniform(std::uint64_t counter) const;
    /// Uniform in {0, …, n − 1}; n > 0. Its bias is below n / 2^64.
    std::uint64_t below(std::uint64_t counter, std::uint64_t n) const;
    /// Standard normal (Box and Muller, 1958).
    double normal(std::uint64_t counter) const;

  private:
    std::uint64_t seed_;
    std::uint64_t stream_;
};

}  // namespace mambase
