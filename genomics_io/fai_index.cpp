#include "genomics_io/fai_index.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/fasta_format.hpp"

#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

namespace mambase::io {

namespace {

bool parse_number(std::string_view text, std::int64_t& out) {
    const char* const end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, out);
    return result.ec == std::errc() && result.ptr == end && out >= 0;
}

/// No offset that is computed from an entry may overflow.
bool is_plausible(const FaiEntry& entry) {
    constexpr std::int64_t most = std::int64_t{1} << 60;
    if (entry.length > (most >> 12) || entry.offset > most) {
        return false;
    }
    return entry.length == 0 ||
           (entry.line_bases > 0 && entry.line_bytes >= entry.line_bases &&
            entry.line_bytes - entry.line_bases <= 2 && entry.line_bytes < most);
}

std::uint64_t little_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 8; i-- > 0;) {
        value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
    }
    return value;
}

}  // namespace

std::vector<FaiEntry> parse_fai(std::string_view text, const std::string& path) {
    std::vector<FaiEntry> entries;
    RecordNames names;
    std::int64_t line_number = 0;
    while (!text.empty()) {
        ++line_number;
        const std::size_t newline = text.find('\n');
        std::string_view line = text.substr(0, newline);
        text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
        if (!line.empty() && line.back() == '\r') {
            line.remove_suffix(1);
        }
        if (line.empty()) {
            continue;
        }
        const std::vector<std::string_view> fields = split(line, '\t');
        FaiEntry entry;
        const bool good = fields.size() == 5 && parse_number(fields[1], entry.length) &&
                          parse_number(fields[2], entry.offset) &&
                          parse_number(fields[3], entry.line_bases) &&
                          parse_number(fields[4], entry.line_bytes) && is_plausible(entry);
        if (!good) {
            throw Error(ErrorCode::format,
                        "not a line of a FASTA index (name, length, offset, line bases, line "
                        "bytes); delete the index to have it built anew")
                .at(path)
                .offset(line_number, "line");
        }
        entry.name = fields[0];
        names.add(entry.name, static_cast<std::int64_t>(entries.size()), path);
        entries.push_back(std::move(entry));
    }
    return entries;
}

std::vector<BlockStart> parse_gzi(std::string_view bytes, const std::string& path) {
    constexpr std::size_t entry_bytes = 16;
    constexpr std::uint64_t most = std::uint64_t{1} << 47;  // a virtual offset holds 48 bits
    std::vector<BlockStart> blocks{{0, 0}};                 // the file leaves the first one out
    bool good = bytes.size() >= 8 && (bytes.size() - 8) % entry_bytes == 0 &&
                little_endian(bytes) == (bytes.size() - 8) / entry_bytes;
    for (std::size_t at = 8; good && at < bytes.size(); at += entry_bytes) {
        const std::uint64_t compressed = little_endian(bytes.substr(at));
        const std::uint64_t inflated = little_endian(bytes.substr(at + 8));
        good = compressed < most && inflated < (std::uint64_t{1} << 62) &&
               static_cast<std::int64_t>(compressed) > blocks.back().compressed &&
               static_cast<std::int64_t>(inflated) >= blocks.back().inflated;
        blocks.push_back(
            {static_cast<std::int64_t>(compressed), static_cast<std::int64_t>(inflated)});
    }
    if (!good) {
        throw Error(ErrorCode::format,
                    "not an index of bgzip blocks; delete it to have it built anew")
            .at(path);
    }
    return blocks;
}

std::string format_fai(const std::vector<FaiEntry>& entries) {
    std::string text;
    for (const FaiEntry& e : entries) {
        text += concat(e.name, '\t', e.length, '\t', e.offset, '\t', e.line_bases, '\t',
                       e.line_bytes, '\n');
    }
    return text;
}

namespace {

/// Takes a FASTA text line by line, in pieces, and keeps where records and lines begin.
class FaiBuilder {
  public:
    explicit FaiBuilder(std::string path) : path_(std::move(path)) {}

    /// `piece` lies within one line, without its '\n'.
    void append(std::string_view piece) {
        if (piece.empty()) {
            return;
        }
        if (line_bytes_ == 0) {
            in_header_ = piece.front() == '>';
            if (in_header_) {
                name_.clear();
            }
        }
        if (in_header_) {
            name_.append(piece.substr(line_bytes_ == 0 ? 1 : 0));
        }
        line_bytes_ += static_cast<std::int64_t>(piece.size());
        last_byte_ = piece.back();
    }

    /// `terminated`: by a '\n'; false for the last line of a file without one.
    void end_line(bool terminated) {
        ++line_;
        const std::int64_t bytes = line_bytes_ + (terminated ? 1 : 0);
        const std::int64_t bases = line_bytes_ - (line_bytes_ > 0 && last_byte_ == '\r' ? 1 : 0);
        if (in_header_) {
            begin_record(offset_ + bytes);
        } else if (!entries_.empty()) {
            add_line(bases, bytes, terminated);
        }
        offset_ += bytes;
        line_bytes_ = 0;
        in_header_ = false;
    }

    bool has_open_line() const { return line_bytes_ > 0; }
    std::vector<FaiEntry> take() { return std::move(entries_); }

  private:
    void begin_record(std::int64_t first_base) {
        names_.add(name_.text(), static_cast<std::int64_t>(entries_.size()), path_);
        FaiEntry entry;
        entry.name = name_.text();
        entry.offset = first_base;
        entries_.push_back(std::move(entry));
        ended_ = false;
    }

    void add_line(std::int64_t bases, std::int64_t bytes, bool terminated) {
        FaiEntry& entry = entries_.back();
        if (bases == 0) {
            ended_ = ended_ || entry.length > 0;  // blank: nothing may follow it
            entry.offset += entry.length > 0 ? 0 : bytes;
            return;
        }
        if (entry.length == 0) {
            entry.line_bases = bases;
            entry.line_bytes = bytes + (terminated ? 0 : 1);
        }
        const std::int64_t ending = entry.line_bytes - entry.line_bases;
        if (ended_ || bases > entry.line_bases || (terminated && bytes - bases != ending)) {
            throw Error(ErrorCode::unsupported,
                        "the lines of this record differ in length, so it cannot be indexed; "
                        "rewrap the file (for example with seqtk seq -l 60)")
                .at(path_)
                .record(static_cast<std::int64_t>(entries_.size()) - 1, entry.name)
                .offset(line_, "line");
        }
        ended_ = bases < entry.line_bases;  // a shorter line is the last one
        entry.length += bases;
    }

    std::string path_;
    std::vector<FaiEntry> entries_;
    RecordNames names_;
    HeaderName name_;
    std::int64_t line_ = 0;
    std::int64_t offset_ = 0;  // of the current line
    std::int64_t line_bytes_ = 0;
    char last_byte_ = '\0';
    bool in_header_ = false;
    bool ended_ = false;  // the record has had its last line
};

}  // namespace

std::vector<FaiEntry> build_fai(ByteReader& reader) {
    FaiBuilder builder(reader.path());
    std::vector<char> space(std::size_t{1} << 16);
    bool start = true;
    while (const std::size_t n = reader.read(space)) {
        std::string_view text(space.data(), n);
        if (std::exchange(start, false)) {
            require_fasta(text, reader.path());
        }
        for (;;) {
            const std::size_t newline = text.find('\n');
            builder.append(text.substr(0, newline));
            if (newline == std::string_view::npos) {
                break;
            }
            builder.end_line(true);
            text.remove_prefix(newline + 1);
        }
    }
    if (start) {
        require_fasta({}, reader.path());
    }
    if (builder.has_open_line()) {
        builder.end_line(false);
    }
    return builder.take();
}

namespace {

/// Where the index of a file is kept when its directory cannot be written: under a name that
/// changes with the file's place, size and time.
std::string fallback_path(const std::string& path, std::string_view suffix) {
    const std::filesystem::path full = std::filesystem::absolute(path);
    const auto time = std::filesystem::last_write_time(full).time_since_epoch().count();
    const std::string key =
        concat(full.string(), '\n', std::filesystem::file_size(full), '\n', time);
    std::uint64_t hash = 0xCBF29CE484222325U;  // FNV-1a
    for (const char c : key) {
        hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3U;
    }
    return concat(temporary_directory(), "/", full.filename().string(), ".", hash, suffix);
}

/// The .fai is the one that the path names, and the .gzi the one of that name beside it; else they
/// are looked for beside the file.
std::optional<std::string> find_index(const IndexedPath& path,
                                      std::string_view suffix,
                                      const Observer& observer) {
    std::string beside = concat(path.file, suffix);
    if (!path.index.empty() && suffix == ".fai") {
        beside = path.index;
        if (!exists(beside)) {
            throw Error(ErrorCode::not_found, "no such index").at(beside);
        }
    } else if (path.index.ends_with(".fai")) {
        const std::string named =
            concat(std::string_view(path.index).substr(0, path.index.size() - 4), suffix);
        beside = exists(named) ? named : beside;
    }
    if (exists(beside)) {
        if (std::filesystem::last_write_time(beside) <
            std::filesystem::last_write_time(path.file)) {
            observer.warning(concat("the index ", beside, " is older than its file"));
        }
        return beside;
    }
    std::string fallback = fallback_path(path.file, suffix);
    return exists(fallback) ? std::optional(std::move(fallback)) : std::nullopt;
}

/// An index that can be written nowhere is not worth a failure: it is in memory.
void keep_index(const std::string& path,
                std::string_view suffix,
                std::string_view text,
                const Observer& observer) {
    for (const std::string& place : {concat(path, suffix), fallback_path(path, suffix)}) {
        try {
            write_text(place, text);
            observer.info(concat("index written: ", place));
            return;
        } catch (const Error&) {
            continue;
        }
    }
    observer.warning(concat("the index of ", path,
                            " can be written neither beside it nor under TMPDIR; it is built "
                            "anew in every run"));
}

}  // namespace

FastaIndex load_index(const IndexedPath& path,
                      Compression compression,
                      const ReadOptions& options,
                      const Observer& observer) {
    const bool blocked = compression == Compression::bgzip;
    const std::optional<std::string> fai = find_index(path, ".fai", observer);
    const std::optional<std::string> gzi =
        blocked ? find_index(path, ".gzi", observer) : std::nullopt;
    FastaIndex index;
    if (fai) {
        index.entries = parse_fai(read_text(*fai), *fai);
    }
    if (gzi) {
        index.blocks = parse_gzi(read_text(*gzi), *gzi);
    }
    if (!fai || (blocked && !gzi)) {
        ByteReader reader(path.file, options, blocked);
        std::vector<FaiEntry> entries = build_fai(reader);
        if (!fai) {
            keep_index(path.file, ".fai", format_fai(entries), observer);
            index.entries = std::move(entries);
        }
        if (blocked && !gzi) {
            const std::string text = reader.block_index();
            keep_index(path.file, ".gzi", text, observer);
            index.blocks = parse_gzi(text, path.file);
        }
    }
    return index;
}

}  // namespace mambase::io
