#include "pipelines/tokenize.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/npy_sink.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/segment_encoder.hpp"
#include "genomics_io/table_sink.hpp"
#include "pipelines/embedding_files.hpp"
#include "pipelines/progress.hpp"

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

/// What becomes of records: begin(), codes() any number of times, end(), for each.
class TokenWriter {
  public:
    TokenWriter() = default;
    TokenWriter(const TokenWriter&) = delete;
    TokenWriter& operator=(const TokenWriter&) = delete;
    virtual ~TokenWriter() = default;

    /// A record, or with `part` that interval of one.
    virtual void begin(std::string_view name, std::optional<io::Interval> part) = 0;
    virtual void codes(std::span<const char> letters, std::span<const std::uint8_t> codes) = 0;
    virtual void end() = 0;
    virtual void finish() = 0;
};

class TextWriter final : public TokenWriter {
  public:
    explicit TextWriter(const std::string& path) : out_(path) {
        for (std::size_t id = 0; id < ids_.size(); ++id) {
            ids_[id] = std::to_string(id);
        }
    }

    void begin(std::string_view name, std::optional<io::Interval> part) override {
        line_ = concat('>', part ? io::format_region(name, part->begin, part->end) : name, '\n');
        in_line_ = 0;
    }
    void codes(std::span<const char>, std::span<const std::uint8_t> codes) override {
        constexpr int ids_a_line = 30;
        for (const std::uint8_t code : codes) {
            if (in_line_ == ids_a_line) {
                line_.push_back('\n');
                in_line_ = 0;
            } else if (in_line_ > 0) {
                line_.push_back(' ');
            }
            line_.append(ids_[code & 0x7F]);
            ++in_line_;
        }
        write();
    }
    void end() override {
        if (in_line_ > 0) {
            line_.push_back('\n');
        }
        write();
    }
    void finish() override { out_.commit(); }

  private:
    void write() {
        out_.write(line_);
        line_.clear();
    }

    OutputFile out_;
    std::array<std::string, 128> ids_;
    std::string line_;
    int in_line_ = 0;
};

class ArrayWriter final : public TokenWriter {
  public:
    ArrayWriter(const std::string& path, const std::string& table)
        : array_(path),
          table_path_(table),
          table_(table, {"contig", "start", "end", "strand", "first_row", "rows"}) {}

    void begin(std::string_view name, std::optional<io::Interval> part) override {
        name_ = name;
        start_ = part ? part->begin : 0;
        first_row_ = array_.size();
    }
    void codes(std::span<const char>, std::span<const std::uint8_t> codes) override {
        ids_.assign(codes.begin(), codes.end());
        for (std::uint8_t& id : ids_) {
            id &= 0x7F;
        }
        array_.append(ids_);
    }
    void end() override {
        const std::int64_t rows = array_.size() - first_row_;
        table_.row(name_, start_, start_ + rows, "+", first_row_, rows);
    }
    void finish() override {
        table_.finish();
        try {
            array_.finish();
        } catch (...) {  // the table means nothing without the array
            std::error_code ignored;
            std::filesystem::remove(table_path_, ignored);
            throw;
        }
    }

  private:
    io::NpyByteSink array_;
    std::string table_path_;
    io::TableSink table_;
    std::string name_;
    std::int64_t start_ = 0;
    std::int64_t first_row_ = 0;
    std::vector<std::uint8_t> ids_;
};

class CountWriter final : public TokenWriter {
  public:
    CountWriter(const std::string& path, const io::Tokenizer& tokenizer)
        : tokenizer_(tokenizer), table_(path, {"name", "letter", "id", "count"}) {}

    void begin(std::string_view name, std::optional<io::Interval> part) override {
        name_ = part ? io::format_region(name, part->begin, part->end) : std::string(name);
        letters_.fill(0);
    }
    void codes(std::span<const char> letters, std::span<const std::uint8_t>) override {
        for (const char letter : letters) {
            ++letters_[static_cast<std::uint8_t>(letter)];
        }
    }
    void end() override {
        lines(name_, letters_);
        for (std::size_t i = 0; i < all_.size(); ++i) {
            all_[i] += letters_[i];
        }
    }
    void finish() override {
        lines("all", all_);
        table_.finish();
    }

  private:
    using Counts = std::array<std::int64_t, 256>;

    void lines(std::string_view name, const Counts& counts) {
        for (std::size_t byte = 0; byte < counts.size(); ++byte) {
            if (counts[byte] > 0) {
                const auto letter = static_cast<char>(byte);
                std::uint8_t code = 0;
                tokenizer_.encode({&letter, 1}, &code);
                table_.row(name, letter, code & 0x7F, counts[byte]);
            }
        }
    }

    const io::Tokenizer& tokenizer_;
    io::TableSink table_;
    std::string name_;
    Counts letters_{};
    Counts all_{};
};

std::unique_ptr<TokenWriter> make_writer(const TokenizeOptions& options,
                                         const io::Tokenizer& tokenizer,
                                         const std::string& rows_table) {
    if (options.counts) {
        return std::make_unique<CountWriter>(options.output, tokenizer);
    }
    if (options.writes_array()) {
        return std::make_unique<ArrayWriter>(options.output, rows_table);
    }
    return std::make_unique<TextWriter>(options.output);
}

/// Reads sources through, one after the other, into the writer.
class TokenizeRun {
  public:
    TokenizeRun(const io::Tokenizer& tokenizer, const Runtime& runtime, TokenWriter& writer)
        : tokenizer_(tokenizer),
          runtime_(runtime),
          writer_(writer),
          progress_(runtime.observer, 0) {}

    /// With `part`: the source is that interval of one record.
    void read(io::SequenceSource& source, std::optional<io::Interval> part) {
        io::Segment segment;
        io::RecordSummary summary;
        while (source.next(segment)) {
            runtime_.throw_if_stopped();
            if (segment.first) {
                summary = {};
                summary.name = segment.name;
                writer_.begin(segment.name, part);
            }
            const std::size_t n = segment.bases.size();
            codes_.resize(n);
            io::encode_segment(tokenizer_, source.path(), segment, io::Strand::forward, 0, n,
                               codes_.data(), summary);
            writer_.codes(segment.bases, codes_);
            unreported_ += static_cast<std::int64_t>(n);
            if (unreported_ >= kReported) {
                progress_.advance(std::exchange(unreported_, 0), segment.name);
            }
            if (segment.last) {
                writer_.end();
                tell_letters(summary, runtime_.observer);
                ++records_;
            }
        }
        progress_.advance(std::exchange(unreported_, 0), source.path());
        tell_skipped(source.path(), source.skipped(), runtime_.observer);
    }

    std::int64_t records() const { return records_; }
    const Progress& progress() const { return progress_; }

  private:
    /// Bases: asking for the time at every read would be a twentieth of all.
    static constexpr std::int64_t kReported = 1 << 15;

    const io::Tokenizer& tokenizer_;
    const Runtime& runtime_;
    TokenWriter& writer_;
    Progress progress_;
    std::int64_t unreported_ = 0;  // bases
    std::vector<std::uint8_t> codes_;
    std::int64_t records_ = 0;
};

}  // namespace

void TokenizeOptions::validate() const {
    std::vector<std::string> violations;
    reading.collect_violations(violations);
    if (output.empty()) {
        violations.emplace_back("no output file");
    }
    if (counts && writes_array()) {
        violations.emplace_back("the counts are a table, not an array (.npy)");
    }
    throw_violations(violations);
}

TokenizeReport tokenize(const TokenizeOptions& options, const Runtime& runtime) {
    options.validate();
    const io::Tokenizer& tokenizer = io::Tokenizer::named(options.tokenizer);
    const std::vector<std::string>& inputs = options.reading.inputs;
    for (const std::string& path : inputs) {
        if (path != "-" && !exists(path)) {
            throw Error(ErrorCode::not_found, "no such file").at(path);
        }
    }
    io::ReadOptions read = options.reading.read_options();
    read.threads = runtime.threads - 1;

    TokenizeReport report;
    if (options.writes_array()) {
        report.rows_table = embedding_stem(options.output) + ".rows.tsv";
    }
    const std::unique_ptr<TokenWriter> writer = make_writer(options, tokenizer, report.rows_table);
    TokenizeRun run(tokenizer, runtime, *writer);
    if (options.reading.has_regions()) {
        const auto fasta = io::IndexedFasta::open(inputs.front(), read, runtime.observer);
        for (const io::Region& region : resolve_regions(options.reading, fasta.contigs())) {
            run.read(*fasta.read(region.contig, region.begin, region.end, io::Strand::forward),
                     io::Interval{region.begin, region.end});
        }
    } else {
        for (const std::string& path : inputs) {
            run.read(*io::open_sequences(path, read), std::nullopt);
        }
    }
    writer->finish();
    report.records = run.records();
    report.bases = run.progress().done();
    report.seconds = run.progress().seconds();
    return report;
}

}  // namespace mambase::pipelines
