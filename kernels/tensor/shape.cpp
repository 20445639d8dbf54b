#include "kernels/tensor/shape.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/tensor/dtype.hpp"

namespace mambase {

std::string_view name(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return "f32";
        case DType::f64:
            return "f64";
        case DType::bf16:
            return "bf16";
        case DType::i32:
            return "i32";
        case DType::i64:
            return "i64";
        case DType::u8:
            return "u8";
    }
    return "unknown";
}

std::string_view name(Device device) {
    return device.kind == Device::Kind::cpu ? "cpu" : "cuda";
}

Shape::Shape(std::initializer_list<std::int64_t> extents) {
    MAMBASE_REQUIRE(extents.size() <= kMaxRank, ErrorCode::shape,
                    "a tensor has at most five dimensions");
    for (const std::int64_t extent : extents) {
        MAMBASE_REQUIRE(extent >= 0, ErrorCode::shape,
                        concat("a tensor's extent is negative: ", extent));
        extents_[static_cast<std::size_t>(rank_++)] = extent;
    }
    static_cast<void>(count());
}

std::int64_t Shape::count() const {
    std::int64_t product = 1;
    for (int dim = 0; dim < rank_; ++dim) {
        product = checked_mul(product, (*this)[dim]);
    }
    return product;
}

std::string Shape::text() const {
    std::string out = "[";
    for (int dim = 0; dim < rank_; ++dim) {
        out += concat(dim == 0 ? "" : ", ", (*this)[dim]);
    }
    return out + "]";
}

bool operator==(const Shape& a, const Shape& b) noexcept {
    if (a.rank_ != b.rank_) {
        return false;
    }
    for (int dim = 0; dim < a.rank_; ++dim) {
        if (a[dim] != b[dim]) {
            return false;
        }
    }
    return true;
}

}  // namespace mambase
