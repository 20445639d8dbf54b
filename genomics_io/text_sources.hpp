// FASTA and FASTQ from text that is open already. Private to genomics_io.
#pragma once

#include "genomics_io/fasta_format.hpp"
#include "genomics_io/line_reader.hpp"
#include "genomics_io/source.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace mambase::io {

inline constexpr std::size_t kSegmentBases = std::size_t{1}
                                             << 17;  // stays in the second-level cache

/// `lines` are at the start of the file. As open_fasta (fasta_source.hpp) and open_sequences
/// (open.hpp) say.
std::unique_ptr<SequenceSource> read_fasta(LineReader lines);
std::unique_ptr<SequenceSource> read_fastq(LineReader lines);

/// The rest of a header line into `name`, which begins anew.
void read_name(LineReader& lines, std::int64_t record, HeaderName& name);

}  // namespace mambase::io
