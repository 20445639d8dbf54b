// Any file of sequence, its format judged by its content and never by its name.
#pragma once

#include "genomics_io/source.hpp"

#include <memory>
#include <string>

namespace mambase::io {

/// All records of a file in order, forward: FASTA or FASTQ, plain, gzip or bgzip, SAM, BAM or CRAM,
/// from a file, a pipe or standard input ("-"). An index that the path names (##idx##) is not
/// looked at.
///
/// FASTA as open_fasta() says. FASTQ: sequence and quality in any number of lines, quality as long
/// as the sequence and of printable characters, the name after '+' none or the record's; blank
/// lines between records.
///
/// Of alignments every read comes once, as it was sequenced: the complement reversed where flag
/// 0x10 is set, clipped and spliced stretches as they stand in SEQ, unmapped reads too; secondary
/// and supplementary alignments are passed over and counted. SEQ "*" is a record without bases.
/// Names get "/1" and "/2" from flags 0x40 and 0x80, as by `samtools fasta`. The names of reads may
/// come again. The reference of a CRAM is `options.reference`, else it is looked for where
/// REF_CACHE and REF_PATH say; never in a network.
///
/// Memory: a segment, of SAM, BAM and CRAM what HTSlib decodes at once (an alignment, a container).
///
/// Errors as open_fasta() has them; Error{format} for what does not keep to its format, with record
/// and line or virtual offset, and for a missing end marker of bgzip, BAM or CRAM unless
/// `ignore_eof`; Error{unsupported} for other formats. A file cut anywhere fails, or gives exactly
/// the records before the cut.
std::unique_ptr<SequenceSource> open_sequences(const std::string& path_and_index,
                                               const ReadOptions& options);

/// Takes network addresses out of REF_PATH, which HTSlib reads. To be called before a thread starts
/// that opens sequences; open_sequences() does it too.
void keep_references_local();

/// Whether IndexedFasta::open can work: a regular file of FASTA that is plain or bgzip. False for
/// "-", pipes, plain gzip and other formats; throws where the file is missing or is a directory.
bool can_be_indexed(const std::string& path_and_index);

}  // namespace mambase::io
