// Extents of a tensor, up to five, 64 bits each.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace mambase {

class Shape {
  public:
    static constexpr int kMaxRank = 5;

    Shape() = default;
    /// Throws Error{shape} on a negative extent, more than five, or a product past 63 bits.
    Shape(std::initializer_list<std::int64_t> extents);

    int rank() const noexcept { return rank_; }
    std::int64_t operator[](int dim) const noexcept {
        return extents_[static_cast<std::size_t>(dim)];
    }
    void set(int dim, std::int64_t extent) noexcept {
        extents_[static_cast<std::size_t>(dim)] = extent;
    }
    /// Product of the extents; 1 for rank 0.
    std::int64_t count() const;
    /// "[2, 3]"
    std::string text() const;
    friend bool operator==(const Shape& a, const Shape& b) noexcept;

  private:
    std::array<std::int64_t, kMaxRank> extents_{};
    int rank_ = 0;
};

}  // namespace mambase
