// Reads a file of variants through, and prints how many records it has: read_variants [-r] FILE
// With -r each record as place, REF, ALT and genotypes.
#include "base/error.hpp"
#include "genomics_io/variant_source.hpp"

#include <cstdio>
#include <cstring>
#include <string>

namespace {

using namespace mambase::io;

void print(const Variant& variant) {
    std::string line = variant.place() + "\t" + variant.reference + "\t";
    for (const Allele& allele : variant.alternates) {
        line += (line.back() == '\t' ? "" : ",") + allele.text;
    }
    line += variant.alternates.empty() ? "." : "";
    for (const Genotype& genotype : variant.samples) {
        line += '\t';
        for (std::size_t i = 0; i < genotype.alleles.size(); ++i) {
            line += i == 0 ? "" : genotype.phased ? "|" : "/";
            line += genotype.alleles[i] < 0 ? "." : std::to_string(genotype.alleles[i]);
        }
        line += genotype.alleles.empty() ? "." : "";
    }
    std::printf("%s\n", line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    const bool records = argc == 3 && std::strcmp(argv[1], "-r") == 0;
    if (argc != 2 && !records) {
        return 2;
    }
    try {
        VariantSource source(argv[argc - 1]);
        Variant variant;
        long count = 0;
        while (source.next(variant)) {
            ++count;
            if (records) {
                print(variant);
            }
        }
        if (!records) {
            std::printf("%ld\n", count);
        }
    } catch (const mambase::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return error.code() == mambase::ErrorCode::internal ? 3 : 1;
    }
    return 0;
}
