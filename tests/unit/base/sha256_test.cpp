#include "base/sha256.hpp"

#include <string>

#include <catch2/catch.hpp>

namespace mambase {

namespace {

std::string hash_of(std::string_view text) {
    Sha256 hash;
    hash.update(text);
    return hash.hex();
}

}  // namespace

// FIPS 180-4 examples, and one million "a" of its long message.
TEST_CASE("SHA-256 gives the known answers") {
    CHECK(hash_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash_of(std::string(1'000'000, 'a')) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on how the bytes are handed over") {
    const std::string text(300, 'x');
    for (std::size_t length = 0; length <= text.size(); ++length) {
        const std::string_view whole = std::string_view(text).substr(0, length);
        Sha256 pieces;
        for (std::size_t at = 0; at < length; at += 37) {
            pieces.update(whole.substr(at, 37));
        }
        CHECK(pieces.hex() == hash_of(whole));
    }
}

}  // namespace mambase
