// A record of HTSlib's as a Variant. Private to genomics_io.
#pragma once

#include "genomics_io/hts_handles.hpp"
#include "genomics_io/variant.hpp"

#include <utility>
#include <vector>

namespace mambase::io {

class VariantDecoder {
  public:
    /// `columns`: which samples, by their place in the header.
    explicit VariantDecoder(std::vector<int> columns) : columns_(std::move(columns)) {}

    /// All of `out` but `record`. Error{format} without a place.
    void decode(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) const;

  private:
    void decode_samples(const bcf_hdr_t* header, bcf1_t* raw, Variant& out) const;
    Genotype decode_genotype(const bcf_hdr_t* header,
                             const bcf1_t* raw,
                             const bcf_fmt_t* values,
                             int column) const;

    std::vector<int> columns_;
};

}  // namespace mambase::io
