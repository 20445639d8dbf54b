#include "genomics_io/variant_decoder.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string_view>

#include <htslib/hts_endian.h>

namespace mambase::io {

namespace {

constexpr std::int64_t kMissing = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kEndOfVector = kMissing + 1;

/// Number i of a vector of BCF. (HTSlib 1.16 has a function for that, which ends the process where
/// the type is none that it knows.) Empty where they are no whole numbers.
std::optional<std::int64_t> number_at(const std::uint8_t* bytes, int type, std::ptrdiff_t i) {
    std::int64_t value = 0;
    std::int64_t missing = 0;  // of this type; the end of a vector is the number after it
    switch (type) {
        case BCF_BT_INT8:
            value = le_to_i8(bytes + i);
            missing = bcf_int8_missing;
            break;
        case BCF_BT_INT16:
            value = le_to_i16(bytes + 2 * i);
            missing = bcf_int16_missing;
            break;
        case BCF_BT_INT32:
            value = le_to_i32(bytes + 4 * i);
            missing = bcf_int32_missing;
            break;
        case BCF_BT_INT64:
            value = le_to_i64(bytes + 8 * i);
            missing = bcf_int64_missing;
            break;
        default:
            return std::nullopt;
    }
    return value <= missing + 1 ? kMissing + (value - missing) : value;
}

void decode_alleles(const bcf1_t* raw, Variant& out) {
    out.reference = raw->n_allele == 0 ? "" : raw->d.allele[0];
    const bool letters = std::all_of(out.reference.begin(), out.reference.end(),
                                     [](char c) { return is_base(c) || is_ambiguous(c); });
    if (out.reference.empty() || !letters) {
        throw Error(ErrorCode::format,
                    concat("REF '", out.reference.substr(0, 60), "' is not made of bases"));
    }
    out.alternates.clear();
    for (unsigned i = 1; i < raw->n_allele; ++i) {
        out.alternates.push_back({raw->d.allele[i], classify_allele(raw->d.allele[i])});
    }
}

void decode_info(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) {
    out.end.reset();
    const bcf_info_t* const end = bcf_get_info(header, raw, "END");
    if (end != nullptr && end->len == 1) {
        out.end = number_at(end->vptr, end->type, 0);
        if (out.end.value_or(0) <= out.position) {  // what lies before says nothing
            out.end.reset();
        }
    }
    out.lengths.clear();
    const bcf_info_t* const lengths = bcf_get_info(header, raw, "SVLEN");
    for (int i = 0; lengths != nullptr && i < lengths->len; ++i) {
        const auto value = number_at(lengths->vptr, lengths->type, i);
        if (!value || *value == kEndOfVector) {
            break;
        }
        out.lengths.push_back(*value == kMissing ? 0 : std::abs(*value));
    }
}

/// A number, or a name as some callers write it.
std::string decode_phase_set(const bcf_fmt_t* values, int column) {
    if (values == nullptr || values->n == 0) {
        return "";
    }
    const std::uint8_t* const bytes = values->p + std::ptrdiff_t{column} * values->size;
    if (values->type == BCF_BT_CHAR) {
        const std::string_view text(reinterpret_cast<const char*>(bytes),
                                    static_cast<std::size_t>(values->n));
        const std::string_view name = text.substr(0, text.find('\0'));
        return name == "." ? "" : std::string(name);
    }
    const auto value = number_at(bytes, values->type, 0);
    return value && *value > kEndOfVector ? concat(*value) : "";
}

}  // namespace

void VariantDecoder::decode(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) const {
    const bool known = raw->rid >= 0 && raw->rid < header->n[BCF_DT_CTG];
    const char* const contig = known ? bcf_hdr_id2name(header, raw->rid) : nullptr;
    if (contig == nullptr || *contig == '\0') {
        throw Error(ErrorCode::format, "a contig without a name, or that the header does not have");
    }
    out.contig = contig;
    out.position = raw->pos;
    if (out.position < -1) {
        throw Error(ErrorCode::format, concat("POS is ", out.position + 1, ", below 0"));
    }
    if (bcf_unpack(raw, columns_.empty() ? BCF_UN_SHR : BCF_UN_ALL) < 0) {
        throw Error(ErrorCode::format, "the record cannot be unpacked");
    }
    out.id = raw->d.id == nullptr ? "." : raw->d.id;
    decode_alleles(raw, out);
    out.filters.clear();
    for (int i = 0; i < raw->d.n_flt; ++i) {
        const int id = raw->d.flt[i];
        const bool declared = id >= 0 && id < header->n[BCF_DT_ID];
        const char* const filter = declared ? bcf_hdr_int2id(header, BCF_DT_ID, id) : nullptr;
        if (filter == nullptr) {
            throw Error(ErrorCode::format, "a filter that the header does not have");
        }
        out.filters.emplace_back(filter);
    }
    decode_info(header, raw, out);
    decode_samples(header, raw, out);
}

void VariantDecoder::decode_samples(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) const {
    out.samples.assign(columns_.size(), {});
    if (columns_.empty() || raw->n_fmt == 0) {
        return;
    }
    const int samples = bcf_hdr_nsamples(header);
    if (static_cast<int>(raw->n_sample) != samples) {
        throw Error(ErrorCode::format, concat("values of ", static_cast<int>(raw->n_sample),
                                              " samples, where the header has ", samples));
    }
    const bcf_fmt_t* const genotypes = bcf_get_fmt(header, raw, "GT");
    const bcf_fmt_t* const sets = bcf_get_fmt(header, raw, "PS");
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        if (genotypes != nullptr) {
            out.samples[i] = decode_genotype(header, raw, genotypes, columns_[i]);
        }
        out.samples[i].phase_set = decode_phase_set(sets, columns_[i]);
    }
}

Genotype VariantDecoder::decode_genotype(const bcf_hdr_t* header,
                                         const bcf1_t* raw,
                                         const bcf_fmt_t* values,
                                         int column) const {
    Genotype genotype;
    genotype.phased = true;
    const std::uint8_t* const bytes = values->p + std::ptrdiff_t{column} * values->size;
    for (int k = 0; k < values->n; ++k) {
        const auto value = number_at(bytes, values->type, k);
        if (!value) {
            throw Error(ErrorCode::format, "GT is not stored as genotypes are");
        }
        if (*value == kEndOfVector) {
            break;
        }
        // The number of an allele and one, and whether '|' stands before it.
        const std::int64_t allele = *value == kMissing ? kMissingAllele : (*value >> 1) - 1;
        if (allele >= raw->n_allele || allele < kMissingAllele) {
            throw Error(
                ErrorCode::format,
                concat("the genotype of sample ", header->samples[column], " names allele ", allele,
                       ", and there are ", static_cast<int>(raw->n_allele), " with REF"));
        }
        genotype.alleles.push_back(static_cast<int>(allele));
        genotype.phased = genotype.phased && (k == 0 || (*value & 1) != 0);
    }
    genotype.phased = genotype.phased && !genotype.alleles.empty();
    return genotype;
}

}  // namespace mambase::io
