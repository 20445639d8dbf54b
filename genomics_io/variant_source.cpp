#include "genomics_io/variant_source.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/hts_handles.hpp"
#include "genomics_io/indexed_path.hpp"
#include "genomics_io/line_reader.hpp"
#include "genomics_io/variant_decoder.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <htslib/kstring.h>

namespace mambase::io {

namespace {

/// A line for HTSlib to parse, which changes it.
class Line {
  public:
    Line() = default;
    ~Line() { ks_free(&text_); }
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;

    kstring_t* get() { return &text_; }
    std::string_view view() const { return {text_.s == nullptr ? "" : text_.s, text_.l}; }
    void clear() { ks_clear(&text_); }
    void append(std::string_view piece) {
        constexpr std::size_t most = std::size_t{1} << 30;  // HTSlib counts in 31 bits
        if (text_.l + piece.size() > most) {
            throw Error(ErrorCode::format, "a line of over 1 GiB");
        }
        if (kputsn(piece.data(), piece.size(), &text_) < 0) {
            throw Error(ErrorCode::out_of_memory, "no memory for a line");
        }
    }

  private:
    kstring_t text_ = KS_INITIALIZE;
};

std::vector<int> columns_of(const std::vector<std::string>& wanted, const bcf_hdr_t* header) {
    std::vector<int> columns;
    for (const std::string& name : wanted) {
        const int column = bcf_hdr_id2int(header, BCF_DT_SAMPLE, name.c_str());
        if (column < 0) {
            const int n = bcf_hdr_nsamples(header);
            throw Error(ErrorCode::not_found,
                        concat("there is no sample '", name, "'; ",
                               n == 0 ? std::string("the file has none")
                                      : concat("the file has ", n, ", the first is '",
                                               header->samples[0], "'")));
        }
        columns.push_back(column);
    }
    return columns;
}

/// The index of a file that is there, else what is looked for.
std::string index_path(const std::string& file, const std::string& named) {
    for (const std::string& candidate : {named, concat(file, ".csi"), concat(file, ".tbi")}) {
        if (!candidate.empty() && (exists(candidate) || candidate == named)) {
            return candidate;
        }
    }
    return concat(file, ".csi");
}

}  // namespace

struct VariantSource::State {
    IndexedPath path;
    ReadOptions options;
    std::optional<LineReader> lines;  // of text
    HtsFileHandle file;               // of BCF, or of text that an index leads through
    VariantHeaderHandle header;
    VariantHandle raw;
    std::vector<std::string> samples;
    std::optional<VariantDecoder> decoder;
    Line line;
    std::int64_t line_number = 0;  // of `line`, 1-based
    std::int64_t records = 0;
    bool again = false;  // `raw` is to be given once more
    bool ended = false;

    bool selecting = false;
    TabixHandle tabix;  // of text
    IndexHandle index;  // of BCF
    IteratorHandle selected;

    void open_text(HFileHandle handle);
    void open_binary(HFileHandle handle);
    void choose(const std::optional<std::vector<std::string>>& wanted);
    bool read_line();
    void read_text_header();
    void parse_line();
    bool read_raw();
    bool read_selected();
    void open_index(const Observer& observer);
    void require_end_marker() const;

    Error located(Error error) const {
        error.at(path.file);
        if (lines && !selecting) {
            return error.offset(line_number, "line");
        }
        const bool blocks = file != nullptr && file->format.compression == bgzf;
        return blocks ? error.offset(bgzf_tell(file->fp.bgzf), "virtual offset") : error;
    }
    [[noreturn]] void fail(ErrorCode code, std::string what) const {
        throw located(Error(code, std::move(what)));
    }
};

/// False at the end of the file.
bool VariantSource::State::read_line() {
    line.clear();
    line_number = lines->line();
    if (lines->at_end()) {
        return false;
    }
    constexpr std::size_t any = std::size_t{1} << 16;
    std::string_view piece;
    while (!lines->at_end()) {
        if (!lines->take(piece, any)) {
            return true;
        }
        if (piece.find('\0') != std::string_view::npos) {
            fail(ErrorCode::format, "a zero byte, which no text has");
        }
        try {
            line.append(piece);
        } catch (Error& error) {
            throw located(error);
        }
    }
    if (!options.ignore_eof) {
        fail(ErrorCode::format,
             "the last line has no end, so the file may be truncated (--ignore-eof accepts it)");
    }
    return true;
}

void VariantSource::State::read_text_header() {
    std::string text;
    do {
        if (!read_line()) {
            fail(ErrorCode::format, "the file ends within its header (truncated?)");
        }
        if (line.view().empty()) {
            continue;
        }
        if (line.view().front() != '#') {
            fail(ErrorCode::format, "a record before the line that begins with #CHROM");
        }
        text.append(line.view()).push_back('\n');
    } while (line.view().empty() || line.view().starts_with("##"));
    header.reset(bcf_hdr_init("r"));
    if (!header) {
        fail(ErrorCode::out_of_memory, "no memory for the header");
    }
    if (bcf_hdr_parse(header.get(), text.data()) != 0) {
        fail(ErrorCode::format,
             "the header cannot be parsed: the line #CHROM needs its eight columns (and FORMAT "
             "before samples, each of another name), parted by tabs");
    }
}

void VariantSource::State::open_text(HFileHandle handle) {
    lines.emplace(ByteReader(path.file, std::move(handle), options));
    read_text_header();
}

void VariantSource::State::open_binary(HFileHandle handle) {
    file.reset(hts_hopen(handle.get(), path.file.c_str(), "r"));
    if (!file) {
        throw Error(ErrorCode::format, "the header is damaged or cut short").at(path.file);
    }
    static_cast<void>(handle.release());  // closed with `file` from here on
    header.reset(bcf_hdr_read(file.get()));
    if (!header) {
        fail(ErrorCode::format,
             "the header cannot be read: damaged, cut short, or of BCF version 1");
    }
    if (options.threads > 0 && hts_set_threads(file.get(), options.threads + 1) != 0) {
        fail(ErrorCode::io, "cannot start the threads that decode");
    }
}

void VariantSource::State::choose(const std::optional<std::vector<std::string>>& wanted) {
    if (wanted) {
        samples = *wanted;
    } else {
        samples.assign(header->samples, header->samples + bcf_hdr_nsamples(header));
    }
    try {
        decoder.emplace(columns_of(samples, header.get()));
    } catch (Error& error) {
        throw error.at(path.file);
    }
    raw.reset(bcf_init());
    if (!raw) {
        fail(ErrorCode::out_of_memory, "no memory for a record");
    }
    if (samples.empty()) {
        raw->max_unpack = BCF_UN_SHR;
    }
}

/// `line` into `raw`.
void VariantSource::State::parse_line() {
    const std::string_view text = line.view();
    const auto columns = 1 + std::count(text.begin(), text.end(), '\t');
    const int n = bcf_hdr_nsamples(header);
    const bool fits = n == 0 ? columns == 8 || columns == 9 : columns == 9 + n;
    if (!fits) {
        fail(ErrorCode::format,
             concat("the record has ", columns, " columns, where the header has ",
                    n == 0 ? 8 : 9 + n, " (truncated?)"));
    }
    const std::string start(text.substr(0, 80));
    const std::size_t tab = text.find('\t') + 1;  // HTSlib takes what is no number for 0
    const std::string_view position = text.substr(tab, text.find('\t', tab) - tab);
    if (position.empty() || position.find_first_not_of("0123456789") != std::string_view::npos) {
        fail(ErrorCode::format, concat("POS '", position.substr(0, 60), "' is not a position"));
    }
    bcf_clear(raw.get());
    constexpr int worthless = BCF_ERR_CTG_INVALID | BCF_ERR_NCOLS | BCF_ERR_LIMITS | BCF_ERR_CHAR;
    if (vcf_parse(line.get(), header.get(), raw.get()) != 0 || (raw->errcode & worthless) != 0) {
        fail(ErrorCode::format,
             concat("not a record of VCF: '", start.substr(0, start.find_last_of('\t')), " …'"));
    }
}

void VariantSource::State::require_end_marker() const {
    if (file->fp.bgzf->errcode != 0) {  // to HTSlib's threads that is an end like others
        fail(ErrorCode::io, "the file cannot be read on");
    }
    const bool marked = file->format.compression != bgzf;
    if (!marked && file->fp.bgzf->no_eof_block != 0 && !options.ignore_eof) {
        fail(ErrorCode::format,
             "the end marker is missing, so the file may be truncated (--ignore-eof accepts it)");
    }
}

/// False at the end of the file.
bool VariantSource::State::read_raw() {
    if (lines) {
        do {
            if (!read_line()) {
                return false;
            }
        } while (line.view().empty());
        parse_line();
        return true;
    }
    const int result = bcf_read(file.get(), header.get(), raw.get());
    if (result < -1) {
        fail(ErrorCode::format, concat("record ", records,
                                       " of the file (counted from 0) is malformed, damaged or cut "
                                       "short"));
    }
    if (result < 0) {
        require_end_marker();
    }
    return result >= 0;
}

/// False at the end of the region.
bool VariantSource::State::read_selected() {
    if (!selected) {
        return false;
    }
    const int result = lines ? tbx_itr_next(file.get(), tabix.get(), selected.get(), line.get())
                             : bcf_itr_next(file.get(), selected.get(), raw.get());
    if (result < -1) {
        fail(ErrorCode::format, "the file is damaged here, or its index is another file's");
    }
    if (result >= 0 && lines) {
        parse_line();
    }
    return result >= 0;
}

void VariantSource::State::open_index(const Observer& observer) {
    if (path.file == "-" || !std::filesystem::is_regular_file(path.file)) {
        throw Error(ErrorCode::usage, "regions need a file with an index, not a pipe")
            .at(path.file);
    }
    if (lines) {
        HFileHandle handle = open_for_htslib(path.file);
        file.reset(hts_hopen(handle.get(), path.file.c_str(), "r"));
        if (file) {
            static_cast<void>(handle.release());
        }
    }
    if (!file || file->format.compression != bgzf) {
        throw Error(ErrorCode::unsupported,
                    "regions need BCF, or VCF that is compressed with bgzip, and an index")
            .at(path.file);
    }
    if (bgzf_check_EOF(file->fp.bgzf) != 1 && !options.ignore_eof) {
        throw Error(ErrorCode::format,
                    "the end marker is missing, so the file may be truncated (--ignore-eof accepts "
                    "it)")
            .at(path.file);
    }
    const std::string beside = index_path(path.file, path.index);
    if (!exists(beside)) {
        throw Error(ErrorCode::not_found, "no such index; bcftools index makes one").at(beside);
    }
    if (std::filesystem::last_write_time(beside) < std::filesystem::last_write_time(path.file)) {
        observer.warning(concat("the index ", beside, " is older than its file"));
    }
    // An absolute path is no URL to HTSlib.
    const std::string full = std::filesystem::absolute(path.file).string();
    const std::string full_index = std::filesystem::absolute(beside).string();
    if (lines) {
        tabix.reset(tbx_index_load3(full.c_str(), full_index.c_str(), HTS_IDX_SILENT_FAIL));
    } else {
        index.reset(bcf_index_load3(full.c_str(), full_index.c_str(), HTS_IDX_SILENT_FAIL));
    }
    const bool good = lines ? tabix && (tabix->conf.preset & 0xFFFF) == TBX_VCF : index != nullptr;
    if (!good) {
        throw Error(ErrorCode::format, "not an index (.csi, .tbi) of variants").at(beside);
    }
}

VariantSource::VariantSource(const std::string& path,
                             const ReadOptions& options,
                             const std::optional<std::vector<std::string>>& samples)
    : state_(std::make_unique<State>()) {
    state_->path = split_index(path);
    state_->options = options;
    const std::string& name = state_->path.file;
    HFileHandle file = open_for_htslib(name);
    htsFormat format{};
    if (hts_detect_format(file.get(), &format) != 0) {
        throw Error(ErrorCode::io, concat("cannot read: ", std::generic_category().message(errno)))
            .at(name);
    }
    if (format.format == vcf) {
        state_->open_text(std::move(file));
    } else if (format.format == bcf) {
        state_->open_binary(std::move(file));
    } else {
        throw Error(ErrorCode::unsupported,
                    "neither VCF (its first line is ##fileformat=VCFv4.…) nor BCF")
            .at(name);
    }
    state_->choose(samples);
}

VariantSource::~VariantSource() = default;
VariantSource::VariantSource(VariantSource&&) noexcept = default;

const std::string& VariantSource::path() const {
    return state_->path.file;
}

const std::vector<std::string>& VariantSource::samples() const {
    return state_->samples;
}

bool VariantSource::next(Variant& variant) {
    State& state = *state_;
    if (state.ended) {  // asked again after the end, threads of HTSlib wait for ever
        return false;
    }
    if (!std::exchange(state.again, false) &&
        !(state.selecting ? state.read_selected() : state.read_raw())) {
        state.ended = true;
        return false;
    }
    variant.record = state.records;
    variant.contig.clear();
    try {
        state.decoder->decode(state.header.get(), state.raw.get(), variant);
    } catch (Error& error) {
        error.record(variant.record, variant.contig.empty() ? "" : variant.place());
        throw state.located(error);
    }
    ++state.records;
    return true;
}

void VariantSource::put_back() {
    MAMBASE_ASSERT(state_->records > 0 && !state_->ended);
    state_->again = true;
    --state_->records;
}

void VariantSource::select(const std::string& contig, Interval interval, const Observer& observer) {
    MAMBASE_REQUIRE(interval.begin >= 0 && interval.begin < interval.end, ErrorCode::usage,
                    concat("[", interval.begin, ", ", interval.end, ") is no region"));
    State& state = *state_;
    if (!state.selecting) {
        state.open_index(observer);
        state.selecting = true;
    }
    state.ended = state.again = false;
    const int target = state.lines ? tbx_name2id(state.tabix.get(), contig.c_str())
                                   : bcf_hdr_name2id(state.header.get(), contig.c_str());
    state.selected.reset();
    if (target >= 0) {
        state.selected.reset(
            state.lines ? tbx_itr_queryi(state.tabix.get(), target, interval.begin, interval.end)
                        : bcf_itr_queryi(state.index.get(), target, interval.begin, interval.end));
        if (!state.selected) {
            throw Error(ErrorCode::format, "the index cannot be searched").at(path());
        }
    }
}

}  // namespace mambase::io
