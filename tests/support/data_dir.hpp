// Where tests find data: as built, or, for a program that was carried to another machine, as the
// environment says.
#pragma once

#include <cstdlib>
#include <string>

namespace mambase::test {

/// The repository: MAMBASE_SOURCE_DIR in the environment, else where this was built.
inline std::string source_dir() {
    const char* const dir = std::getenv("MAMBASE_SOURCE_DIR");
    return dir != nullptr ? dir : MAMBASE_SOURCE_DIR;
}

/// Sets too large or not free to copy: MAMBASE_SHARED_DATA likewise.
inline std::string shared_data() {
    const char* const dir = std::getenv("MAMBASE_SHARED_DATA");
    return dir != nullptr ? dir : MAMBASE_SHARED_DATA;
}

}  // namespace mambase::test
