// Formats that tell contigs by their names need each name once.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>

namespace mambase::io {

class ContigNames {
  public:
    /// Error{usage} that names the file where it was added before.
    void add(std::string_view name, const std::string& path);

  private:
    std::unordered_set<std::string> names_;
};

}  // namespace mambase::io
