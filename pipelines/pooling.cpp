#include "pipelines/pooling.hpp"

#include "base/checked_math.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace mambase::pipelines {

std::int64_t Pooling::rows(std::int64_t bases) const {
    switch (how) {
        case Pool::none:
            return bases;
        case Pool::bins:
            return ceil_div(bases, bin);
        case Pool::mean:
        case Pool::max:
        case Pool::last:
            break;
    }
    return std::min<std::int64_t>(bases, 1);
}

std::string name(const Pooling& pooling) {
    switch (pooling.how) {
        case Pool::none:
            break;
        case Pool::bins:
            return concat("bin:", pooling.bin);
        case Pool::mean:
            return "mean";
        case Pool::max:
            return "max";
        case Pool::last:
            return "last";
    }
    return "none";
}

}  // namespace mambase::pipelines
