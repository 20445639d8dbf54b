#include "genomics_io/open.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/alignment_source.hpp"
#include "genomics_io/compression.hpp"
#include "genomics_io/indexed_path.hpp"
#include "genomics_io/text_sources.hpp"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace mambase::io {

namespace {

bool holds_alignments(hFILE* file, const std::string& path) {
    htsFormat format{};
    if (hts_detect_format(file, &format) != 0) {
        throw Error(ErrorCode::io, concat("cannot read: ", std::generic_category().message(errno)))
            .at(path);
    }
    return format.format == sam || format.format == bam || format.format == cram;
}

/// The first byte that is not of a blank line; '\0' where there is none.
char first_letter(const LineReader& lines) {
    const std::string_view text = lines.buffered();
    const std::size_t start = text.find_first_not_of("\r\n");
    return start == std::string_view::npos ? '\0' : text[start];
}

}  // namespace

std::unique_ptr<SequenceSource> open_sequences(const std::string& path_and_index,
                                               const ReadOptions& options) {
    const std::string path = split_index(path_and_index).file;
    keep_references_local();
    HFileHandle file = open_for_htslib(path);
    if (holds_alignments(file.get(), path)) {
        return read_alignments(path, std::move(file), options);
    }
    LineReader lines(ByteReader(path, std::move(file), options));
    const bool fastq = first_letter(lines) == '@';
    return fastq ? read_fastq(std::move(lines)) : read_fasta(std::move(lines));
}

bool can_be_indexed(const std::string& path_and_index) {
    const std::string path = split_index(path_and_index).file;
    if (path == "-" ||
        (exists(path) && !is_directory(path) && !std::filesystem::is_regular_file(path))) {
        return false;
    }
    HFileHandle file = open_for_htslib(path);
    if (holds_alignments(file.get(), path)) {
        return false;
    }
    ByteReader reader(path, std::move(file), {});
    if (reader.compression() == Compression::gzip) {
        return false;
    }
    return first_letter(LineReader(std::move(reader))) != '@';
}

}  // namespace mambase::io
