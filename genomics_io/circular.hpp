// Records that are circles: read round, over the end and on from the start, on either strand.
//
// A circle of length L is read as an endless line of turns. Coordinates below 0 and from L on are
// those of other turns; what lies there is read for what it does to turn 0, and counts for nothing
// itself. The context grid goes on to the left of 0, so that base 0 has the N bases before it, and
// gaps are judged over the seam.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/window.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

/// Which records are circles: none, those of some names, or all.
class Circles {
  public:
    Circles() = default;
    /// Names; the one word "all" stands for all.
    explicit Circles(const std::vector<std::string>& names);

    bool any() const { return all_ || !met_.empty(); }
    /// Notes that a record of that name was met.
    bool has(std::string_view name);
    /// Error{not_found} that lists the names that no record had.
    void require_met() const;

  private:
    bool all_ = false;
    std::map<std::string, bool, std::less<>> met_;
};

/// The part `asked` (any coordinates) of a circle of `length` >= 1 bases, from sources of parts of
/// one turn, which `turn` opens one after the other.
std::unique_ptr<SequenceSource> read_round(
    std::function<std::unique_ptr<SequenceSource>(Interval)> turn,
    std::int64_t length,
    Interval asked);

/// The records of a source; those that are circles wait, one at a time, in an unnamed file under
/// TMPDIR, and come as `windows` has to read them. `circles` has to outlive what is returned.
std::unique_ptr<SequenceSource> with_circles(std::unique_ptr<SequenceSource> source,
                                             Circles& circles,
                                             const WindowOptions& windows);

}  // namespace mambase::io
