#include "genomics_io/variant_decoder.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <string_view>

namespace mambase::io {

namespace {

// What bcf_get_…_values() answer where the header has another type for a tag, and where HTSlib has
// no memory.
constexpr int kOtherType = -2;
constexpr int kNoMemory = -4;

void require_memory(int result) {
    if (result == kNoMemory) {
        throw Error(ErrorCode::out_of_memory, "no memory for the values of a record");
    }
}

}  // namespace

VariantDecoder::~VariantDecoder() {
    std::free(numbers_);
    std::free(text_);
}

void VariantDecoder::decode(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) {
    const char* const contig = raw->rid < 0 || raw->rid >= header->n[BCF_DT_CTG]
                                   ? nullptr
                                   : bcf_hdr_id2name(header, raw->rid);
    if (contig == nullptr) {
        throw Error(ErrorCode::format, "a contig that the header does not have");
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
        out.filters.emplace_back(bcf_hdr_int2id(header, BCF_DT_ID, raw->d.flt[i]));
    }
    decode_info(header, raw, out);
    decode_samples(header, raw, out);
}

void VariantDecoder::decode_alleles(bcf1_t* raw, Variant& out) const {
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

void VariantDecoder::decode_info(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) {
    out.end.reset();
    int n = bcf_get_info_int32(header, raw, "END", &numbers_, &n_numbers_);
    require_memory(n);
    if (n == 1 && *numbers_ > out.position) {  // one that lies before says nothing
        out.end = *numbers_;
    }
    out.lengths.clear();
    n = bcf_get_info_int32(header, raw, "SVLEN", &numbers_, &n_numbers_);
    require_memory(n);
    for (int i = 0; i < n; ++i) {
        const std::int64_t value = numbers_[i];
        out.lengths.push_back(value == bcf_int32_missing ? 0 : std::abs(value));
    }
}

void VariantDecoder::decode_samples(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) {
    out.samples.assign(columns_.size(), {});
    if (!columns_.empty() && raw->n_fmt > 0) {
        decode_genotypes(header, raw, out);
        decode_phase_sets(header, raw, out);
    }
}

void VariantDecoder::decode_genotypes(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) {
    const int n = bcf_get_genotypes(header, raw, &numbers_, &n_numbers_);
    require_memory(n);
    if (n == kOtherType) {
        throw Error(ErrorCode::format, "GT is declared as something else than a String");
    }
    const int samples = bcf_hdr_nsamples(header);
    const int ploidy = n < 0 ? 0 : n / samples;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        Genotype& genotype = out.samples[i];
        const std::int32_t* const values = numbers_ + std::ptrdiff_t{columns_[i]} * ploidy;
        genotype.phased = true;
        for (int k = 0; k < ploidy && values[k] != bcf_int32_vector_end; ++k) {
            const int allele =
                bcf_gt_is_missing(values[k]) ? kMissingAllele : bcf_gt_allele(values[k]);
            if (allele >= raw->n_allele || allele < kMissingAllele) {
                throw Error(ErrorCode::format,
                            concat("the genotype of sample ", header->samples[columns_[i]],
                                   " names allele ", allele, ", and there are ",
                                   static_cast<int>(raw->n_allele), " with REF"));
            }
            genotype.alleles.push_back(allele);
            genotype.phased = genotype.phased && (k == 0 || bcf_gt_is_phased(values[k]));
        }
        genotype.phased = genotype.phased && !genotype.alleles.empty();
    }
}

void VariantDecoder::decode_phase_sets(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) {
    const int samples = bcf_hdr_nsamples(header);
    int n = bcf_get_format_int32(header, raw, "PS", &numbers_, &n_numbers_);
    require_memory(n);
    if (n == kOtherType) {  // some callers write names
        n = bcf_get_format_char(header, raw, "PS", &text_, &n_text_);
        require_memory(n);
        const std::ptrdiff_t width = n < 0 ? 0 : n / samples;
        for (std::size_t i = 0; i < columns_.size() && width > 0; ++i) {
            const std::string_view text(text_ + columns_[i] * width,
                                        static_cast<std::size_t>(width));
            const std::string_view name = text.substr(0, text.find('\0'));
            out.samples[i].phase_set = name == "." ? std::string_view() : name;
        }
        return;
    }
    const std::ptrdiff_t width = n < 0 ? 0 : n / samples;
    for (std::size_t i = 0; i < columns_.size() && width > 0; ++i) {
        const std::int32_t value = numbers_[columns_[i] * width];
        if (value != bcf_int32_missing && value != bcf_int32_vector_end) {
            out.samples[i].phase_set = std::to_string(value);
        }
    }
}

}  // namespace mambase::io
