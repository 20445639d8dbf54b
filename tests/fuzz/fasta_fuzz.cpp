// FASTA through HTSlib, plain, gzip or bgzip as the bytes say.
#include "genomics_io/fasta_source.hpp"
#include "tests/fuzz/source_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    mambase::test::fuzz_source(
        data, size, [](const std::string& path) { return mambase::io::open_fasta(path, {}); });
    return 0;
}
