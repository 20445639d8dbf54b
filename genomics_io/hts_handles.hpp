// Owners of HTSlib's handles. Private to genomics_io.
#pragma once

#include "base/file.hpp"

#include <memory>
#include <string>

#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/sam.h>
#include <htslib/tbx.h>
#include <htslib/vcf.h>

namespace mambase::io {

struct HFileDeleter {
    void operator()(hFILE* file) const noexcept { hclose_abruptly(file); }
};
struct BgzfDeleter {
    void operator()(BGZF* file) const noexcept { static_cast<void>(bgzf_close(file)); }
};

struct HtsFileDeleter {
    void operator()(htsFile* file) const noexcept { static_cast<void>(hts_close(file)); }
};
struct SamHeaderDeleter {
    void operator()(sam_hdr_t* header) const noexcept { sam_hdr_destroy(header); }
};
struct AlignmentDeleter {
    void operator()(bam1_t* alignment) const noexcept { bam_destroy1(alignment); }
};

struct VariantHeaderDeleter {
    void operator()(bcf_hdr_t* header) const noexcept { bcf_hdr_destroy(header); }
};
struct VariantDeleter {
    void operator()(bcf1_t* variant) const noexcept { bcf_destroy(variant); }
};
struct IndexDeleter {
    void operator()(hts_idx_t* index) const noexcept { hts_idx_destroy(index); }
};
struct TabixDeleter {
    void operator()(tbx_t* index) const noexcept { tbx_destroy(index); }
};
struct IteratorDeleter {
    void operator()(hts_itr_t* iterator) const noexcept { hts_itr_destroy(iterator); }
};

using HFileHandle = std::unique_ptr<hFILE, HFileDeleter>;
using BgzfHandle = std::unique_ptr<BGZF, BgzfDeleter>;
using HtsFileHandle = std::unique_ptr<htsFile, HtsFileDeleter>;
using SamHeaderHandle = std::unique_ptr<sam_hdr_t, SamHeaderDeleter>;
using AlignmentHandle = std::unique_ptr<bam1_t, AlignmentDeleter>;
using VariantHeaderHandle = std::unique_ptr<bcf_hdr_t, VariantHeaderDeleter>;
using VariantHandle = std::unique_ptr<bcf1_t, VariantDeleter>;
using IndexHandle = std::unique_ptr<hts_idx_t, IndexDeleter>;
using TabixHandle = std::unique_ptr<tbx_t, TabixDeleter>;
using IteratorHandle = std::unique_ptr<hts_itr_t, IteratorDeleter>;

/// A file for HTSlib to read, "-" standard input; no name is taken for a URL. HTSlib says nothing
/// itself from here on: its lines lack the file's name, ours say it all. Error{not_found, io}.
HFileHandle open_for_htslib(const std::string& path);
/// Writes bgzip to `file`, which stays the caller's. Error{io}.
BgzfHandle create_bgzf(const File& file);

}  // namespace mambase::io
