// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mambase {

class Sha256 {
  public:
    void update(std::span<const std::byte> bytes);
    void update(std::string_view text);
    /// Hexadecimal digest of all that was given; the object is then spent.
    std::string hex();

  private:
    void compress(const std::byte* block);

    std::array<std::uint32_t, 8> state_{0x6A09E667U, 0xBB67AE85U, 0x3C6EF372U, 0xA54FF53AU,
                                        0x510E527FU, 0x9B05688CU, 0x1F83D9ABU, 0x5BE0CD19U};
    std::array<std::byte, 64> pending_{};
    std::size_t pending_size_ = 0;
    std::uint64_t total_ = 0;
};

}  // namespace mambase
