// What classify predict calls as one: a read, a contig, or the two mates of a pair.
#pragma once

#include "base/file.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/classify_predict.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/sequence_reader.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::pipelines {

/// A read or contig, or one mate.
struct Sequence {
    WholeRecord record;
    std::vector<io::Interval> windows;
    std::size_t first_window = 0;  // of the fragment's

    std::span<const std::uint8_t> codes(const io::Interval& window) const;
};

/// What is called as one: a sequence, or the two mates of a pair.
struct Fragment {
    std::vector<Sequence> mates;

    std::int64_t length() const;
};

/// A name without the "/1" or "/2" of a mate.
std::string_view fragment_name(std::string_view name);

/// One file, or the two of pairs, record by record.
class FragmentReader {
  public:
    FragmentReader(std::span<const std::string> paths,
                   const ClassifyPredictOptions& options,
                   const io::Tokenizer& tokenizer,
                   const Runtime& runtime);

    /// False at the end. Throws Error{format} where mates do not belong together.
    bool next(Fragment& fragment);

  private:
    std::vector<SequenceReader> readers_;
};

/// FASTA files, one or two: in the names of two a # is the number of the mate.
class SequenceFiles {
  public:
    /// No path: nothing is written.
    SequenceFiles(const std::string& path, bool paired);
    void write(const Fragment& fragment, std::string_view remark);
    void finish();

  private:
    std::vector<OutputFile> files_;
};

}  // namespace mambase::pipelines
