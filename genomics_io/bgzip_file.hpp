// A bgzip file to write: gzip to everyone, with random access to those who know. Private to
// genomics_io.
#pragma once

#include "base/file.hpp"
#include "genomics_io/hts_handles.hpp"

#include <string>
#include <string_view>

namespace mambase::io {

/// Appears under its name at commit(), whole. Its bytes do not depend on `threads`.
class BgzipFile {
  public:
    BgzipFile(const std::string& path, int threads);

    void write(std::string_view text);
    /// Writes all there is, and the end marker; the file can be read under its temporary name.
    void close();
    const std::string& temporary() const noexcept { return place_.temporary(); }
    /// After close().
    void commit() { place_.commit(); }

  private:
    void require(bool done);

    OutputPath place_;
    BgzfHandle file_;
};

}  // namespace mambase::io
