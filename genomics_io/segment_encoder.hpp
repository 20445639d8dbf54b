// Segments to codes with their counts, and the error for what is no nucleotide.
#pragma once

#include "genomics_io/source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace mambase::io {

/// Encodes bases [from, from + n) of the segment to codes[n] and adds them to the summary.
/// Error{format} with file, record and place for an illegal letter.
void encode_segment(const Tokenizer& tokenizer,
                    const std::string& path,
                    const Segment& segment,
                    Strand strand,
                    std::size_t from,
                    std::size_t n,
                    std::uint8_t* codes,
                    RecordSummary& summary);

}  // namespace mambase::io
