// What every fuzz target of a SequenceSource does: an Error, or segments that follow each other.
#pragma once

#include "genomics_io/source.hpp"
#include "tests/fuzz/error_or_nothing.hpp"
#include "tests/fuzz/memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace mambase::test {

/// `open(path)` gives the source.
template <class Open>
void fuzz_source(const std::uint8_t* data, std::size_t size, const Open& open) {
    const MemoryFile file(data, size);
    constexpr std::int64_t enough = std::int64_t{1} << 24;  // deflate can promise a thousandfold
    expect_error_or_nothing([&] {
        const auto source = open(file.path());
        io::Segment segment;
        std::int64_t record = -1;
        std::int64_t position = 0;
        std::int64_t total = 0;
        bool ended = true;
        while (total < enough && source->next(segment)) {
            if (segment.first != ended || segment.name.empty()) {
                std::abort();
            }
            if (segment.first) {
                ++record;
                position = 0;
            }
            if (segment.record != record || segment.start != position) {
                std::abort();
            }
            position += static_cast<std::int64_t>(segment.bases.size());
            total += static_cast<std::int64_t>(segment.bases.size());
            ended = segment.last;
        }
        if (total < enough && !ended) {
            std::abort();
        }
    });
}

}  // namespace mambase::test
