// Strands and intervals. All coordinates are 0-based and half-open.
#pragma once

#include <cstdint>

namespace mambase::io {

/// The strand that is read. *Strand coordinates* count bases in the order of reading: on the
/// forward strand from the left end of the record, on the reverse strand from its right end. The
/// reverse coordinates of the forward interval [b, e) of a record of length L are [L - e, L - b).
enum class Strand { forward, reverse };

struct Interval {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    std::int64_t size() const { return end - begin; }
    friend bool operator==(const Interval&, const Interval&) = default;
};

/// The same bases in the coordinates of the other strand; `length` is that of the whole record.
inline Interval mirrored(Interval interval, std::int64_t length) {
    return {length - interval.end, length - interval.begin};
}

}  // namespace mambase::io
