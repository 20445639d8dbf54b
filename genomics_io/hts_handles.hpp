// Owners of HTSlib's handles. Private to genomics_io.
#pragma once

#include <memory>

#include <htslib/bgzf.h>
#include <htslib/hfile.h>

namespace mambase::io {

struct HFileDeleter {
    void operator()(hFILE* file) const noexcept { hclose_abruptly(file); }
};
struct BgzfDeleter {
    void operator()(BGZF* file) const noexcept { static_cast<void>(bgzf_close(file)); }
};

using HFileHandle = std::unique_ptr<hFILE, HFileDeleter>;
using BgzfHandle = std::unique_ptr<BGZF, BgzfDeleter>;

}  // namespace mambase::io
