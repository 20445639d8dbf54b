#include "genomics_io/htslib_version.hpp"

#include <htslib/hts.h>

namespace mambase::io {

std::string_view htslib_version() {
    return hts_version();
}

}  // namespace mambase::io
