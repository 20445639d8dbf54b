// BED: an Error, or intervals inside their contigs.
#include "genomics_io/bed.hpp"
#include "tests/fuzz/error_or_nothing.hpp"
#include "tests/fuzz/memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::vector<mambase::io::Contig> contigs = {{"chr1", 248956422}, {"2", 100}};
    const mambase::test::MemoryFile file(data, size);
    mambase::test::expect_error_or_nothing([&] {
        for (const mambase::io::Region& region : mambase::io::read_bed(file.path(), contigs)) {
            const std::int64_t length = contigs.at(static_cast<std::size_t>(region.contig)).length;
            if (region.begin < 0 || region.begin >= region.end || region.end > length) {
                std::abort();
            }
        }
    });
    return 0;
}
