// Sequential FASTA: plain, gzip or bgzip, from a file, a pipe or standard input.
#pragma once

#include "genomics_io/compression.hpp"
#include "genomics_io/source.hpp"

#include <memory>
#include <string>

namespace mambase::io {

/// All records of a file in order, forward. `path` "-" is standard input.
///
/// Accepted: lines of any length, LF and CR LF, blank lines, no newline at the end, records without
/// bases. Memory: one segment, and the names of the records read (to find duplicates).
///
/// Error{not_found, io}: missing, a directory, unreadable. Error{format}, here or from next(): an
/// empty file, data before the first '>', a header without a name, a name that was there before
/// (with both indices), compressed data that are damaged or end early (with the virtual offset of
/// the block, in gzip the compressed byte), bgzip without its end marker unless `ignore_eof`.
/// Error{unsupported}: FASTQ, SAM, BAM, CRAM, VCF, BCF, other compressions.
std::unique_ptr<SequenceSource> open_fasta(const std::string& path, const ReadOptions& options);

}  // namespace mambase::io
