// VCF and BCF, with their end marker and without: an Error, or records that hold together.
#include "genomics_io/variant_source.hpp"
#include "tests/fuzz/error_or_nothing.hpp"
#include "tests/fuzz/memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace mambase;

bool holds_together(const io::Variant& variant, std::size_t samples) {
    bool good = variant.position >= -1 && !variant.contig.empty() && !variant.reference.empty() &&
                variant.samples.size() == samples;
    for (std::size_t i = 0; i < variant.alternates.size(); ++i) {
        const auto extent = io::extent_of(variant, i);
        good = good && !variant.alternates[i].text.empty() && (!extent || extent->size() > 0);
    }
    for (const io::Genotype& genotype : variant.samples) {
        for (const int allele : genotype.alleles) {
            good = good && allele >= io::kMissingAllele &&
                   allele <= static_cast<int>(variant.alternates.size());
        }
    }
    return good;
}

void read_through(const std::string& path, bool ignore_eof) {
    test::expect_error_or_nothing([&] {
        io::VariantSource source(path, {.ignore_eof = ignore_eof});
        io::Variant variant;
        for (std::int64_t n = 0; n < 10000 && source.next(variant); ++n) {
            if (variant.record != n || !holds_together(variant, source.samples().size())) {
                std::abort();
            }
        }
    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const test::MemoryFile file(data, size);
    read_through(file.path(), false);
    read_through(file.path(), true);
    return 0;
}
