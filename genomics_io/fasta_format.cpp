#include "genomics_io/fasta_format.hpp"

#include "base/text.hpp"

#include <array>
#include <utility>

namespace mambase::io {

namespace {

struct Magic {
    std::string_view bytes;
    std::string_view format;
};

constexpr std::array kOtherFormats{
    Magic{"@HD\t", "SAM"},
    Magic{"@SQ\t", "SAM"},
    Magic{"@RG\t", "SAM"},
    Magic{"@PG\t", "SAM"},
    Magic{"@CO\t", "SAM"},
    Magic{"@", "FASTQ"},
    Magic{"BAM\1", "BAM"},
    Magic{"CRAM", "CRAM"},
    Magic{"##fileformat=VCF", "VCF"},
    Magic{"BCF\2", "BCF"},
    Magic{"BZh", "compressed by bzip2"},
    Magic{"\xFD"
          "7zXZ",
          "compressed by xz"},
    Magic{"\x28\xB5\x2F\xFD", "compressed by zstd"},
};

}  // namespace

void require_fasta(std::string_view head, const std::string& path) {
    if (head.empty()) {
        throw Error(ErrorCode::format, "the file is empty").at(path);
    }
    const std::size_t start = head.find_first_not_of("\r\n");
    if (start == std::string_view::npos) {
        throw Error(ErrorCode::format, "the file holds no record").at(path);
    }
    const std::string_view text = head.substr(start);
    if (text.front() == '>') {
        return;
    }
    for (const Magic& magic : kOtherFormats) {
        if (text.substr(0, magic.bytes.size()) == magic.bytes) {
            throw Error(ErrorCode::unsupported, concat("the file is ", magic.format,
                                                       "; here FASTA (plain, gzip or bgzip) "
                                                       "is expected"))
                .at(path);
        }
    }
    std::int64_t line = 1;
    for (const char c : head.substr(0, start)) {
        line += c == '\n' ? 1 : 0;
    }
    throw Error(ErrorCode::format, "data before the first header: a line '>name' is expected")
        .at(path)
        .offset(line, "line");
}

void RecordNames::add(const std::string& name, std::int64_t record, const std::string& path) {
    if (name.empty()) {
        throw Error(ErrorCode::format, "the header line has no name after '>'")
            .at(path)
            .record(record, "");
    }
    const auto [there, added] = records_.emplace(name, record);
    if (!added) {
        throw Error(ErrorCode::format,
                    concat("the name '", name, "' is that of record ", there->second, " already"))
            .at(path)
            .record(record, name);
    }
}

void HeaderName::clear() {
    text_.clear();
    whole_ = false;
}

void HeaderName::append(std::string_view piece) {
    if (whole_) {
        return;
    }
    constexpr std::size_t longest = std::size_t{1} << 16;  // what is longer is no name
    const std::size_t end = piece.find_first_of(" \t\r\v\f");
    text_.append(piece.substr(0, end));
    whole_ = end != std::string_view::npos;
    MAMBASE_REQUIRE(text_.size() <= longest, ErrorCode::format,
                    "the name of a record is longer than 65,536 bytes");
}

}  // namespace mambase::io
