// tokenize: what a model would be given of a file: token ids, or how often each letter comes.
#pragma once

#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>

namespace mambase::pipelines {

struct TokenizeOptions {
    ReadingOptions
        reading;  // inputs, reference, regions, bed, ignore_eof; the rest has no use here
    std::string tokenizer = "dna";
    /// "-" is standard output. "….npy": an array of ids; else text.
    std::string output = "-";
    bool counts = false;  // a table of letters instead of ids

    bool writes_array() const { return output.ends_with(".npy"); }
    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct TokenizeReport {
    std::int64_t records = 0;  // or regions
    std::int64_t bases = 0;
    double seconds = 0.0;
    std::string rows_table;  // beside an array; else empty
};

/// Text: for each record a line ">name" (of a region ">name:first-last", 1-based and inclusive),
/// then its ids, parted by blanks, up to 30 a line.
///
/// Array: unsigned bytes [bases], record after record; beside it "….rows.tsv" with contig, start,
/// end (0-based, half-open), strand ("+"), first row, rows; the array appears last.
///
/// Counts: a table with name, letter, id, count: a line for each letter of a record, case apart,
/// by its code in ASCII; then the same of everything under the name "all".
///
/// With `runtime.threads` n, bgzip, BAM and CRAM are decoded by n - 1 additional threads (see
/// ReadOptions). Errors as of the readers; Error{format} for a letter that is no nucleotide code.
TokenizeReport tokenize(const TokenizeOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
