// Region text: an Error, or a region inside its contig that is written and read the same.
#include "genomics_io/region.hpp"
#include "tests/fuzz/error_or_nothing.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::vector<mambase::io::Contig> contigs = {{"chr1", 248956422},
                                                             {"chr1:5", 100},
                                                             {"HLA:1", 1},
                                                             {"2", std::int64_t{1} << 40},
                                                             {"x-y", 7}};
    mambase::test::expect_error_or_nothing([&] {
        const mambase::io::Region region = mambase::io::parse_region(
            std::string_view(reinterpret_cast<const char*>(data), size), contigs);
        const auto& contig = contigs.at(static_cast<std::size_t>(region.contig));
        if (region.begin < 0 || region.begin >= region.end || region.end > contig.length) {
            std::abort();
        }
        const std::string written =
            mambase::io::format_region(contig.name, region.begin, region.end);
        if (!(mambase::io::parse_region(written, contigs) == region)) {
            std::abort();
        }
    });
    return 0;
}
