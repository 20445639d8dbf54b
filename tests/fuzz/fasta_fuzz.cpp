// FASTA through HTSlib, plain, gzip or bgzip as the bytes say: an Error, or segments that follow
// each other.
#include "base/error.hpp"
#include "genomics_io/fasta_source.hpp"
#include "tests/fuzz/memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const mambase::test::MemoryFile file(data, size);
    constexpr std::int64_t kEnough = std::int64_t{1} << 24;  // deflate can promise a thousandfold
    try {
        const auto source = mambase::io::open_fasta(file.path(), {});
        mambase::io::Segment segment;
        std::int64_t record = -1;
        std::int64_t position = 0;
        std::int64_t total = 0;
        bool ended = true;
        while (total < kEnough && source->next(segment)) {
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
        if (total < kEnough && !ended) {
            std::abort();
        }
    } catch (const mambase::Error& error) {
        if (error.code() == mambase::ErrorCode::internal) {
            std::abort();
        }
    }
    return 0;
}
