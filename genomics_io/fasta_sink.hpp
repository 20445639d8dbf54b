// Sequence as FASTA, plain or bgzip.
#pragma once

#include "base/file.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mambase::io {

class BgzipFile;

/// Appears under its name at finish(), whole ("-": standard output, as it comes). A name that ends
/// in .gz or .bgz is bgzip, whose bytes do not depend on `threads`.
class FastaSink {
  public:
    FastaSink(const std::string& path, int threads);
    ~FastaSink();
    FastaSink(const FastaSink&) = delete;
    FastaSink& operator=(const FastaSink&) = delete;

    /// In lines of 60.
    void record(std::string_view name, std::string_view bases);

    void finish();

  private:
    std::optional<OutputFile> plain_;
    std::unique_ptr<BgzipFile> bgzip_;  // one of the two
    std::string text_;                  // of a record
};

}  // namespace mambase::io
