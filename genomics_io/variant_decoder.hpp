// A record of HTSlib's as a Variant. Private to genomics_io.
#pragma once

#include "genomics_io/hts_handles.hpp"
#include "genomics_io/variant.hpp"

#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

namespace mambase::io {

class VariantDecoder {
  public:
    /// `columns`: which samples, by their place in the header.
    explicit VariantDecoder(std::vector<int> columns) : columns_(std::move(columns)) {}
    ~VariantDecoder();
    VariantDecoder(const VariantDecoder&) = delete;
    VariantDecoder& operator=(const VariantDecoder&) = delete;

    /// All of `out` but `record`. Error{format} without a place.
    void decode(const bcf_hdr_t* header, bcf1_t* raw, Variant& out);

  private:
    void decode_alleles(bcf1_t* raw, Variant& out) const;
    void decode_info(const bcf_hdr_t* header, bcf1_t* raw, Variant& out);
    void decode_samples(const bcf_hdr_t* header, bcf1_t* raw, Variant& out);
    void decode_genotypes(const bcf_hdr_t* header, bcf1_t* raw, Variant& out);
    void decode_phase_sets(const bcf_hdr_t* header, bcf1_t* raw, Variant& out);

    std::vector<int> columns_;
    // What HTSlib fills and enlarges.
    std::int32_t* numbers_ = nullptr;
    int n_numbers_ = 0;
    char* text_ = nullptr;
    int n_text_ = 0;
};

}  // namespace mambase::io
