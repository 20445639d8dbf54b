// Reads out of SAM, BAM and CRAM. Private to genomics_io; open.hpp says what comes out.
#pragma once

#include "genomics_io/hts_handles.hpp"
#include "genomics_io/source.hpp"

#include <memory>
#include <string>

namespace mambase::io {

/// `file` is at its start, and HTSlib takes it for one of the three.
std::unique_ptr<SequenceSource> read_alignments(const std::string& path,
                                                HFileHandle file,
                                                const ReadOptions& options);

}  // namespace mambase::io
