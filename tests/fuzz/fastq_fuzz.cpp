// FASTQ, and whatever else the bytes say.
#include "genomics_io/open.hpp"
#include "tests/fuzz/source_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mambase::test::fuzz_source(
        data, size, [](const std::string& path) { return mambase::io::open_sequences(path, {}); });
    return 0;
}
