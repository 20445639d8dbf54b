// Files of variants for tests: text in every form, and records as lines.
#pragma once

#include "base/text.hpp"
#include "genomics_io/variant_source.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <string>
#include <vector>

#include <htslib/tbx.h>
#include <htslib/vcf.h>

namespace mambase::test {

/// `form`: "vcf", "gzip", "bgzip", "bcf", or "raw": BCF that is not compressed.
inline void write_variants(const std::string& path,
                           const std::string& text,
                           std::string_view form) {
    if (form == "vcf") {
        write_text(path, text);
        return;
    }
    if (form == "gzip" || form == "bgzip") {
        write_as(path, text, form == "gzip" ? "wg" : "w");
        return;
    }
    const TempDir dir;
    write_text(dir.file("in.vcf"), text);
    htsFile* const in = hts_open(dir.file("in.vcf").c_str(), "r");
    htsFile* const out = hts_open(path.c_str(), form == "raw" ? "wbu" : "wb");
    REQUIRE((in != nullptr && out != nullptr));
    bcf_hdr_t* const header = bcf_hdr_read(in);
    bcf1_t* const record = bcf_init();
    REQUIRE((header != nullptr && bcf_hdr_write(out, header) == 0));
    while (bcf_read(in, header, record) == 0) {
        REQUIRE(bcf_write(out, header, record) == 0);
    }
    bcf_destroy(record);
    bcf_hdr_destroy(header);
    REQUIRE(hts_close(in) == 0);
    REQUIRE(hts_close(out) == 0);
}

/// All of a record but its number, in a line.
inline std::string describe(const io::Variant& variant) {
    std::string line = concat(variant.place(), " ", variant.id, " ", variant.reference, ">");
    for (const io::Allele& allele : variant.alternates) {
        line += concat(allele.text, "(", "S*<["[static_cast<int>(allele.kind)], ")");
    }
    for (const std::string& filter : variant.filters) {
        line += " " + filter;
    }
    line += variant.end ? concat(" END=", *variant.end) : std::string();
    for (const std::int64_t length : variant.lengths) {
        line += concat(" SVLEN=", length);
    }
    for (const io::Genotype& genotype : variant.samples) {
        line += ' ';
        for (const int allele : genotype.alleles) {
            line += concat(allele, genotype.phased ? "|" : "/");
        }
        line += genotype.phase_set.empty() ? std::string() : concat("@", genotype.phase_set);
    }
    return line;
}

inline std::vector<std::string> read_all(io::VariantSource source) {
    std::vector<std::string> lines;
    io::Variant variant;
    while (source.next(variant)) {
        REQUIRE(variant.record == static_cast<std::int64_t>(lines.size()));
        lines.push_back(describe(variant));
    }
    REQUIRE_FALSE(source.next(variant));
    return lines;
}

}  // namespace mambase::test
