// Which HTSlib reads the files; for `mambase version`.
#pragma once

#include <string_view>

namespace mambase::io {

/// Of the library that is loaded, not of the headers it was compiled with: "1.16".
std::string_view htslib_version();

}  // namespace mambase::io
