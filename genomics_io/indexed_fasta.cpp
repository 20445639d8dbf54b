#include "genomics_io/indexed_fasta.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"
#include "genomics_io/byte_reader.hpp"
#include "genomics_io/fai_index.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace mambase::io {

/// Shared by an IndexedFasta and its sources. Open readers are handed from source to source, since
/// a BED file asks for thousands of short ones.
struct IndexedFasta::State {
    std::string path;
    ReadOptions options;
    FastaIndex index;
    std::vector<Contig> contigs;
    std::unordered_map<std::string_view, std::int64_t> by_name;  // views into `contigs`

    mutable std::mutex mutex;  // of what follows
    mutable std::vector<std::unique_ptr<ByteReader>> idle;
    mutable std::vector<bool> checked;  // contig: its index fits the file

    std::unique_ptr<ByteReader> take_reader() const {
        {
            const std::lock_guard lock(mutex);
            if (!idle.empty()) {
                std::unique_ptr<ByteReader> reader = std::move(idle.back());
                idle.pop_back();
                return reader;
            }
        }
        return std::make_unique<ByteReader>(path, ReadOptions{0, options.ignore_eof});
    }

    Error does_not_fit(std::int64_t contig, std::string_view why) const {
        return Error(ErrorCode::format,
                     concat("the index does not fit the file (", why,
                            "): delete the .fai and .gzi to have them built anew"))
            .at(path)
            .record(contig, contigs[static_cast<std::size_t>(contig)].name);
    }

    void check_header(ByteReader& reader, std::int64_t contig) const;
    void check_end(ByteReader& reader, std::int64_t contig) const;
    void check(ByteReader& reader, std::int64_t contig) const;
};

namespace {

constexpr std::int64_t kPieceBases = std::int64_t{1} << 17;

/// What stands in the file between two offsets, at most 1 MiB of it; shorter at the file's end.
std::string read_between(ByteReader& reader,
                         const FastaIndex& index,
                         std::int64_t begin,
                         std::int64_t end) {
    constexpr std::int64_t most = std::int64_t{1} << 20;
    std::string text(static_cast<std::size_t>(std::min(end - begin, most)), '\0');
    reader.seek(begin, index.blocks);
    text.resize(reader.read(text));
    return text;
}

std::string_view without_line_ends(std::string_view text) {
    const std::size_t first = text.find_first_not_of("\r\n");
    return text.substr(std::min(first, text.size()));
}

/// The bases of forward positions of one contig, piece by piece.
class IndexedSource final : public SequenceSource {
  public:
    IndexedSource(std::shared_ptr<const IndexedFasta::State> state,
                  std::int64_t contig,
                  Interval interval,
                  Strand strand)
        : state_(std::move(state)),
          entry_(state_->index.entries[static_cast<std::size_t>(contig)]),
          contig_(contig),
          interval_(interval),
          strand_(strand),
          position_(interval.begin) {
        reader_ = state_->take_reader();
        state_->check(*reader_, contig);
    }

    ~IndexedSource() override {
        if (failed_) {
            return;
        }
        const std::lock_guard lock(state_->mutex);
        state_->idle.push_back(std::move(reader_));
    }
    IndexedSource(const IndexedSource&) = delete;
    IndexedSource& operator=(const IndexedSource&) = delete;

    const std::string& path() const override { return state_->path; }

    bool next(Segment& segment) override {
        if (done_) {
            return false;
        }
        const std::int64_t n = std::min(kPieceBases, interval_.end - position_);
        const Interval strand_piece{position_, position_ + n};
        const Interval piece =
            strand_ == Strand::forward ? strand_piece : mirrored(strand_piece, entry_.length);
        failed_ = true;  // a reader that has thrown is not handed on
        fetch(piece);
        failed_ = false;
        if (strand_ == Strand::reverse) {
            reverse_complement(bases_);
        }
        segment.record = contig_;
        segment.name = entry_.name;
        segment.start = position_;
        segment.bases = bases_;
        segment.first = position_ == interval_.begin;
        position_ += n;
        segment.last = done_ = position_ == interval_.end;
        return true;
    }

  private:
    /// Reads forward positions [begin, end) into bases_, without the ends of lines.
    void fetch(Interval piece) {
        bases_.clear();
        if (piece.size() == 0) {
            return;
        }
        const std::int64_t begin = entry_.offset_of(piece.begin);
        raw_.resize(static_cast<std::size_t>(entry_.offset_of(piece.end - 1) + 1 - begin));
        reader_->seek(begin, state_->index.blocks);
        if (reader_->read(raw_) != raw_.size()) {
            throw state_->does_not_fit(contig_, "the file ends within the record");
        }
        std::int64_t column = piece.begin % entry_.line_bases;
        for (std::size_t at = 0; at < raw_.size();) {
            const auto n =
                std::min(static_cast<std::size_t>(entry_.line_bases - column), raw_.size() - at);
            const char* const line = raw_.data() + at;
            if (std::memchr(line, '\n', n) != nullptr) {
                throw state_->does_not_fit(contig_, "a line ends where bases should be");
            }
            bases_.insert(bases_.end(), line, line + n);
            at += n;
            if (at < raw_.size()) {
                at += static_cast<std::size_t>(entry_.line_bytes - entry_.line_bases);
                if (at > raw_.size() || raw_[at - 1] != '\n') {
                    throw state_->does_not_fit(contig_, "bases where a line should end");
                }
            }
            column = 0;
        }
    }

    std::shared_ptr<const IndexedFasta::State> state_;
    const FaiEntry& entry_;
    std::int64_t contig_;
    Interval interval_;  // strand coordinates
    Strand strand_;
    std::int64_t position_;
    bool done_ = false;
    bool failed_ = false;
    std::unique_ptr<ByteReader> reader_;
    std::vector<char> raw_;
    std::vector<char> bases_;
};

}  // namespace

/// Between the end of the contig before and this one's first base stand its header line and
/// nothing else.
void IndexedFasta::State::check_header(ByteReader& reader, std::int64_t contig) const {
    const auto i = static_cast<std::size_t>(contig);
    const std::int64_t begin = i == 0 ? 0 : index.entries[i - 1].end();
    const std::int64_t end = index.entries[i].offset;
    if (end <= begin) {
        throw does_not_fit(contig, "records overlap");
    }
    const std::string text = read_between(reader, index, begin, end);
    const std::string_view header = without_line_ends(text);
    const std::string& name = contigs[i].name;
    const std::string_view rest = header.substr(std::min(header.size(), name.size() + 1));
    const bool named = header.substr(0, 1) == ">" && header.substr(1, name.size()) == name &&
                       (rest.empty() || std::string_view(" \t\r\n\v\f").find(rest.front()) !=
                                            std::string_view::npos);
    const std::size_t newline = header.find('\n');
    const bool one_line =
        newline == std::string_view::npos
            ? static_cast<std::int64_t>(text.size()) < end - begin || index.entries[i].length == 0
            : without_line_ends(header.substr(newline)).empty();
    if (!named || !one_line) {
        throw does_not_fit(contig, concat("its offset does not follow a header '>", name, "'"));
    }
}

/// After the last contig come at most blank lines.
void IndexedFasta::State::check_end(ByteReader& reader, std::int64_t contig) const {
    const std::int64_t end = index.entries[static_cast<std::size_t>(contig)].end();
    const std::string text = read_between(reader, index, end, end + 256);
    if (!without_line_ends(text).empty()) {
        throw does_not_fit(contig, "there is more in the file after its end");
    }
}

void IndexedFasta::State::check(ByteReader& reader, std::int64_t contig) const {
    {
        const std::lock_guard lock(mutex);
        if (checked[static_cast<std::size_t>(contig)]) {
            return;
        }
    }
    check_header(reader, contig);
    if (contig + 1 < static_cast<std::int64_t>(contigs.size())) {
        check_header(reader, contig + 1);
    } else {
        check_end(reader, contig);
    }
    const std::lock_guard lock(mutex);
    checked[static_cast<std::size_t>(contig)] = true;
}

IndexedFasta::IndexedFasta(std::shared_ptr<const State> state) : state_(std::move(state)) {}

IndexedFasta IndexedFasta::open(const std::string& path_and_index,
                                const ReadOptions& options,
                                const Observer& observer) {
    const IndexedPath named = split_index(path_and_index);
    const std::string& path = named.file;
    const Compression compression = sniff_compression(path);
    if (compression == Compression::gzip) {
        throw Error(ErrorCode::unsupported,
                    "plain gzip cannot be indexed; recompress with bgzip (gzip -dc FILE | bgzip)")
            .at(path);
    }
    const auto state = std::make_shared<State>();
    state->path = path;
    state->options = options;
    auto reader = std::make_unique<ByteReader>(path, options);
    if (!options.ignore_eof && !reader->has_end_marker()) {
        throw Error(ErrorCode::format,
                    "the end marker of bgzip is missing, so the file may be truncated "
                    "(--ignore-eof accepts it)")
            .at(path);
    }
    state->index = load_index(named, compression, options, observer);
    for (const FaiEntry& entry : state->index.entries) {
        state->contigs.push_back({entry.name, entry.length});
    }
    for (std::size_t i = 0; i < state->contigs.size(); ++i) {
        state->by_name.emplace(state->contigs[i].name, static_cast<std::int64_t>(i));
    }
    state->checked.resize(state->contigs.size());
    state->idle.push_back(std::move(reader));
    return IndexedFasta(state);
}

const std::string& IndexedFasta::path() const {
    return state_->path;
}

const std::vector<Contig>& IndexedFasta::contigs() const {
    return state_->contigs;
}

std::optional<std::int64_t> IndexedFasta::find(std::string_view name) const {
    const auto found = state_->by_name.find(name);
    return found == state_->by_name.end() ? std::nullopt : std::optional(found->second);
}

std::unique_ptr<SequenceSource> IndexedFasta::read(std::int64_t contig,
                                                   std::int64_t begin,
                                                   std::int64_t end,
                                                   Strand strand) const {
    MAMBASE_REQUIRE(contig >= 0 && contig < static_cast<std::int64_t>(contigs().size()),
                    ErrorCode::usage, concat("there is no contig number ", contig));
    const Contig& there = contigs()[static_cast<std::size_t>(contig)];
    MAMBASE_REQUIRE(begin >= 0 && begin <= end && end <= there.length, ErrorCode::usage,
                    concat("[", begin, ", ", end, ") does not lie in contig ", there.name,
                           " of length ", there.length));
    return std::make_unique<IndexedSource>(state_, contig, Interval{begin, end}, strand);
}

}  // namespace mambase::io
