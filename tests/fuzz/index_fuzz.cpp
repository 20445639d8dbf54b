// .fai and .gzi: an Error, or an index that is written and read the same.
#include "genomics_io/fai_index.hpp"
#include "tests/fuzz/error_or_nothing.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    mambase::test::expect_error_or_nothing([&] {
        const std::vector<mambase::io::FaiEntry> entries = mambase::io::parse_fai(text, "a.fai");
        const std::string written = mambase::io::format_fai(entries);
        if (mambase::io::format_fai(mambase::io::parse_fai(written, "b.fai")) != written) {
            std::abort();
        }
        for (const mambase::io::FaiEntry& entry : entries) {
            if (entry.length < 0 || entry.offset < 0 || entry.end() < entry.offset) {
                std::abort();
            }
        }
    });
    mambase::test::expect_error_or_nothing([&] { mambase::io::parse_gzi(text, "a.gzi"); });
    return 0;
}
