// Where the reference of a CRAM comes from. Private to genomics_io.
#pragma once

#include "genomics_io/hts_handles.hpp"
#include "genomics_io/source.hpp"

#include <string>

namespace mambase::io {

/// After keep_references_local(): makes a CRAM that is open find its reference in
/// `options.reference`, else where REF_CACHE and REF_PATH say, and nowhere else: what the file's
/// own header names (UR) is not opened, and nothing is fetched from a network. Error{not_found, io}
/// for `options.reference`.
void set_reference(htsFile* file, const ReadOptions& options);

/// REF_PATH without the elements that are network addresses.
std::string local_elements(const std::string& ref_path);

}  // namespace mambase::io
