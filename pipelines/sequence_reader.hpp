// Whole records in memory, one after the other.
#pragma once

#include "genomics_io/source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct WholeRecord {
    io::RecordSummary summary;        // index, name, length, counts
    std::vector<std::uint8_t> codes;  // [length]
    std::string letters;              // as they stand in the file; empty unless they are kept
};

class SequenceReader {
  public:
    /// `tokenizer` and `runtime` have to outlive this. Errors as io::open_sequences.
    SequenceReader(const std::string& path,
                   const ReadingOptions& options,
                   const io::Tokenizer& tokenizer,
                   bool keep_letters,
                   const Runtime& runtime);

    /// The next record; false after the last, when it has told what was passed over.
    bool next(WholeRecord& record);
    const std::string& path() const { return source_->path(); }

  private:
    std::unique_ptr<io::SequenceSource> source_;
    const io::Tokenizer& tokenizer_;
    bool keep_letters_;
    const Runtime& runtime_;
};

}  // namespace mambase::pipelines
