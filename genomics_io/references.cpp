#include "genomics_io/references.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "genomics_io/open.hpp"

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string_view>

#include <htslib/cram.h>

namespace mambase::io {

namespace {

/// HTSlib before 1.22 opens what UR names, be it a URL. Its own copy of the header is changed.
void forget_named_files(htsFile* file) {
    sam_hdr_t* const header = cram_fd_get_header(file->fp.cram);
    const int n = header == nullptr ? 0 : sam_hdr_nref(header);
    for (int i = 0; i < n; ++i) {
        static_cast<void>(
            sam_hdr_remove_tag_id(header, "SQ", "SN", sam_hdr_tid2name(header, i), "UR"));
    }
}

}  // namespace

std::string local_elements(const std::string& ref_path) {
    // Elements are parted by ':', which addresses have too: after the scheme and before the port.
    std::string kept;
    std::string_view rest = ref_path;
    while (!rest.empty()) {
        std::size_t end = rest.find(':');
        const bool address = rest.starts_with("URL=") ||
                             (end != std::string_view::npos && rest.substr(end).starts_with("://"));
        if (address) {
            const std::size_t host = rest.find("//");
            const std::size_t path =
                host == std::string_view::npos ? host : rest.find('/', host + 2);
            end = path == std::string_view::npos ? path : rest.find(':', path);
        } else if (end != 0) {
            kept += kept.empty() ? "" : ":";
            kept += rest.substr(0, end);
        }
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    return kept;
}

void keep_references_local() {
    // Without REF_PATH, HTSlib 1.16 asks a public server; with one that leads nowhere it does not.
    static std::once_flag once;
    std::call_once(once, [] {
        const char* const given = std::getenv("REF_PATH");
        const std::string local = given == nullptr ? "" : local_elements(given);
        if (local.empty() || local != given) {
            ::setenv("REF_PATH", local.empty() ? "/dev/null/no-references" : local.c_str(), 1);
        }
    });
}

void set_reference(htsFile* file, const ReadOptions& options) {
    forget_named_files(file);
    if (options.reference.empty()) {
        return;
    }
    if (!exists(options.reference)) {
        throw Error(ErrorCode::not_found, "no such reference").at(options.reference);
    }
    // An absolute path is no URL to HTSlib.
    const std::string path = std::filesystem::absolute(options.reference).string();
    if (hts_set_opt(file, CRAM_OPT_REFERENCE, path.c_str()) < 0) {
        throw Error(
            ErrorCode::io,
            "cannot be used as reference: it has to be FASTA, plain or bgzip, with its .fai "
            "or in a directory where one can be written")
            .at(options.reference);
    }
}

}  // namespace mambase::io
