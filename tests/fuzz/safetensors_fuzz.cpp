// The safetensors header: any bytes give an Error or entries that lie within the file.
#include "model/safetensors.hpp"
#include "tests/fuzz/error_or_nothing.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using mambase::model::SafetensorsEntry;
    using mambase::model::SafetensorsHeader;
    mambase::test::expect_error_or_nothing([&] {
        const auto header = SafetensorsHeader::parse(std::as_bytes(std::span(data, size)), "input");
        const std::int64_t bytes = static_cast<std::int64_t>(size) - header.data_begin;
        for (const SafetensorsEntry& entry : header.entries) {
            if (entry.begin < 0 || entry.begin > entry.end || entry.end > bytes) {
                std::abort();
            }
        }
    });
    return 0;
}
