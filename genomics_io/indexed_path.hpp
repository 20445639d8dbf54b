// A path that names its index: "reads.bam##idx##elsewhere/reads.csi", as samtools has it.
#pragma once

#include <string>
#include <string_view>

namespace mambase::io {

struct IndexedPath {
    std::string file;
    std::string index;  // empty where it is not said
};

inline IndexedPath split_index(const std::string& path) {
    constexpr std::string_view delimiter = "##idx##";
    const std::size_t at = path.find(delimiter);
    return at == std::string::npos
               ? IndexedPath{path, ""}
               : IndexedPath{path.substr(0, at), path.substr(at + delimiter.size())};
}

}  // namespace mambase::io
