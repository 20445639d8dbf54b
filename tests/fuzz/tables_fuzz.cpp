// What commands read beside sequence (taxonomies, tables of samples, shards, and all that a report
// is made of): any bytes give an Error, or are taken.
#include "base/observer.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/merge.hpp"
#include "pipelines/report.hpp"
#include "pipelines/samples.hpp"
#include "pipelines/taxonomy.hpp"
#include "tests/fuzz/error_or_nothing.hpp"
#include "tests/fuzz/memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <unistd.h>

namespace {

using namespace mambase;
using mambase::test::expect_error_or_nothing;

/// Of this process; what is written there takes no disk.
std::string scratch(const char* name) {
    static const std::string directory = [] {
        const std::string path = "/dev/shm/tables_fuzz." + std::to_string(getpid());
        std::filesystem::create_directories(path);
        std::atexit([] {
            std::filesystem::remove_all("/dev/shm/tables_fuzz." + std::to_string(getpid()));
        });
        return path;
    }();
    return directory + "/" + name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Observer quiet;
    static const pipelines::Runtime runtime{
        .device = {}, .observer = quiet, .no_pg = true, .command_line = {}};
    const test::MemoryFile file(data, size);
    expect_error_or_nothing([&] {
        pipelines::Taxonomy(pipelines::read_taxonomy(file.path()), {"a", "b"}, file.path())
            .report({1, 2}, 3);
    });
    expect_error_or_nothing([&] {
        const pipelines::SampleSet samples(file.path(), io::Tokenizer::named("dna"), 10, 1, false,
                                           {}, runtime);
        samples.windows(pipelines::Part::test, 3);
    });
    expect_error_or_nothing([&] {
        pipelines::merge({.shards = {file.path()}, .output = scratch("merged.tsv")}, runtime);
    });
    expect_error_or_nothing([&] {
        pipelines::report(
            {.inputs = {file.path()}, .output = scratch("report.html"), .title = "fuzz"}, runtime);
    });
    return 0;
}
