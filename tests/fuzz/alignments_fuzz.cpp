// SAM, BAM and CRAM through HTSlib, with their end marker and without.
#include "genomics_io/open.hpp"
#include "tests/fuzz/source_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    for (const bool ignore_eof : {false, true}) {
        mambase::test::fuzz_source(data, size, [ignore_eof](const std::string& path) {
            return mambase::io::open_sequences(path, {.ignore_eof = ignore_eof});
        });
    }
    return 0;
}
