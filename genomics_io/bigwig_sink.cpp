#include "genomics_io/bigwig_sink.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/thread_pool.hpp"
#include "genomics_io/bigwig_trees.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include <zlib.h>

namespace mambase::io {

namespace {

constexpr std::uint32_t kMagic = 0x888FFC26;
constexpr std::uint16_t kVersion = 4;
constexpr std::int64_t kMostValues = 4096;  // of a block
constexpr std::uint32_t kMostSummaries = 1024;
constexpr std::size_t kMostInRun = 16 * kMostValues;
constexpr std::size_t kMostLevels = 10;
constexpr std::int64_t kFirstReduction = 16;  // values of a summary of the first level
constexpr std::int64_t kNextReduction = 4;

constexpr std::int64_t kHeadBytes = 64;
constexpr std::int64_t kLevelHeadBytes = 24;
constexpr std::int64_t kTotalsBytes = 40;

enum class BlockType : std::uint8_t { places = 1, steps = 3 };  // bedGraph, fixedStep

/// Of values and the bases that they cover.
struct Totals {
    std::uint64_t bases = 0;
    double least = std::numeric_limits<double>::infinity();
    double most = -std::numeric_limits<double>::infinity();
    double sum = 0.0;
    double squares = 0.0;

    void add(double value, std::uint32_t width) {
        bases += width;
        least = std::min(least, value);
        most = std::max(most, value);
        sum += value * width;
        squares += value * value * width;
    }
};

/// Deflates blocks to the end of the file, some side by side.
class Blocks {
  public:
    Blocks(OutputFile& out, ThreadPool& pool) : out_(out), pool_(pool) {}

    void add(std::uint32_t contig, std::uint32_t begin, std::uint32_t end, std::string raw) {
        largest_ = std::max(largest_, raw.size());
        blocks_.push_back({contig, begin, end, 0, 0});
        raw_.push_back(std::move(raw));
        if (raw_.size() == kTogether) {
            flush();
        }
    }
    void flush() {
        std::array<std::vector<Bytef>, kTogether> packed;
        pool_.parallel_for(std::ssize(raw_), [&](std::int64_t i) {
            const auto at = static_cast<std::size_t>(i);
            const std::string& raw = raw_[at];
            uLongf bytes = compressBound(raw.size());
            packed[at].resize(bytes);
            const int result = compress(packed[at].data(), &bytes,
                                        reinterpret_cast<const Bytef*>(raw.data()), raw.size());
            MAMBASE_ASSERT(result == Z_OK);
            packed[at].resize(bytes);
        });
        for (std::size_t i = 0; i < raw_.size(); ++i) {
            BigWigBlock& block = blocks_[blocks_.size() - raw_.size() + i];
            block.offset = static_cast<std::uint64_t>(out_.position());
            block.bytes = packed[i].size();
            out_.write(std::as_bytes(std::span(packed[i])));
        }
        raw_.clear();
    }
    /// Those that have been flushed.
    const std::vector<BigWigBlock>& blocks() const { return blocks_; }
    /// Raw bytes of the largest block.
    std::size_t largest() const { return largest_; }

  private:
    static constexpr std::size_t kTogether = 256;  // of some 16 KB

    OutputFile& out_;
    ThreadPool& pool_;
    std::vector<std::string> raw_;  // of the last blocks
    std::vector<BigWigBlock> blocks_;
    std::size_t largest_ = 0;
};

/// Summaries of one resolution, aside until the values are all written.
class ZoomLevel {
  public:
    explicit ZoomLevel(std::uint64_t reduction) : reduction_(reduction) {}

    void add(std::uint32_t contig,
             std::uint32_t length,
             std::uint32_t begin,
             std::uint32_t end,
             float value) {
        if (totals_.bases > 0 && (contig != contig_ || begin >= end_)) {
            end_summary();
        }
        if (totals_.bases == 0) {
            contig_ = contig;
            begin_ = static_cast<std::uint32_t>(begin - begin % reduction_);
            end_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(begin_ + reduction_, length));
        }
        totals_.add(value, end - begin);
    }

    /// The head of this level; its blocks and their tree go to the end of the file.
    std::string write(OutputFile& out, ThreadPool& pool, std::size_t& largest_block) {
        end_summary();
        flush();
        std::string head;
        append_bytes(head, static_cast<std::uint32_t>(reduction_));
        append_bytes(head, std::uint32_t{0});
        append_bytes(head, static_cast<std::uint64_t>(out.position()));
        Blocks blocks(out, pool);
        std::string count;
        append_bytes(count, static_cast<std::uint32_t>(written_ / kSummaryBytes));
        out.write(count);
        write_blocks(blocks);
        blocks.flush();
        largest_block = std::max(largest_block, blocks.largest());
        append_bytes(head, static_cast<std::uint64_t>(out.position()));
        write_block_tree(out, blocks.blocks(), kMostSummaries);
        return head;
    }

  private:
    static constexpr std::int64_t kSummaryBytes = 32;
    static constexpr std::size_t kPendingBytes = std::size_t{1} << 16;

    void end_summary() {
        if (totals_.bases == 0) {
            return;
        }
        append_bytes(pending_, contig_);
        append_bytes(pending_, begin_);
        append_bytes(pending_, end_);
        append_bytes(pending_, static_cast<std::uint32_t>(totals_.bases));
        for (const double value : {totals_.least, totals_.most, totals_.sum, totals_.squares}) {
            append_bytes(pending_, static_cast<float>(value));
        }
        totals_ = {};
        if (pending_.size() >= kPendingBytes) {
            flush();
        }
    }
    void flush() {
        spool_.write_at(std::as_bytes(std::span<const char>(pending_)), written_);
        written_ += static_cast<std::int64_t>(pending_.size());
        pending_.clear();
    }
    /// A block is of one contig.
    void write_blocks(Blocks& blocks) {
        constexpr std::int64_t most = kMostSummaries * kSummaryBytes;
        std::string raw;
        const auto field = [&raw](std::int64_t at, std::size_t index) {
            std::uint32_t value = 0;
            raw.copy(reinterpret_cast<char*>(&value), sizeof value,
                     static_cast<std::size_t>(at) + index * sizeof value);
            return value;
        };
        for (std::int64_t offset = 0; offset < written_;) {
            raw.resize(static_cast<std::size_t>(std::min(most, written_ - offset)));
            spool_.read_at(std::as_writable_bytes(std::span<char>(raw)), offset);
            std::int64_t bytes = kSummaryBytes;
            while (bytes < static_cast<std::int64_t>(raw.size()) &&
                   field(bytes, 0) == field(0, 0)) {
                bytes += kSummaryBytes;
            }
            raw.resize(static_cast<std::size_t>(bytes));
            blocks.add(field(0, 0), field(0, 1), field(bytes - kSummaryBytes, 2), raw);
            offset += bytes;
        }
    }

    std::uint64_t reduction_;
    std::uint32_t contig_ = 0;
    std::uint32_t begin_ = 0;
    std::uint32_t end_ = 0;
    Totals totals_;  // of the summary that begins at begin_
    std::string pending_;
    File spool_ = File::temporary();
    std::int64_t written_ = 0;
};

}  // namespace

/// Values to blocks, totals and summaries.
class BigWigSink::ValueWriter {
  public:
    ValueWriter(OutputFile& out, ThreadPool& pool, std::uint32_t width, std::uint32_t longest)
        : blocks_(out, pool), width_(width) {
        std::uint64_t reduction = std::uint64_t{width} * kFirstReduction;
        for (; levels_.size() < kMostLevels && reduction < longest; reduction *= kNextReduction) {
            levels_.emplace_back(reduction);
        }
    }

    /// Consecutive values from `begin` on.
    void write(std::uint32_t contig,
               std::uint32_t length,
               std::uint32_t begin,
               std::span<const float> values) {
        const std::uint64_t end = begin + std::uint64_t{width_} * values.size();
        const bool clipped = end > length;
        std::span<const float> whole = values.first(values.size() - (clipped ? 1 : 0));
        std::uint32_t at = begin;
        while (!whole.empty()) {
            const std::size_t n = std::min<std::size_t>(whole.size(), kMostValues);
            const auto next = static_cast<std::uint32_t>(at + width_ * n);
            block(contig, at, next, BlockType::steps, whole.first(n));
            whole = whole.subspan(n);
            at = next;
        }
        if (clipped) {
            block(contig, at, length, BlockType::places, values.last(1));
        }
        for (const float value : values) {
            const auto next = static_cast<std::uint32_t>(
                std::min<std::uint64_t>(std::uint64_t{begin} + width_, length));
            totals_.add(value, next - begin);
            for (ZoomLevel& level : levels_) {
                level.add(contig, length, begin, next, value);
            }
            begin = next;
        }
    }

    Blocks& blocks() { return blocks_; }
    std::vector<ZoomLevel>& levels() { return levels_; }
    const Totals& totals() const { return totals_; }

  private:
    void block(std::uint32_t contig,
               std::uint32_t begin,
               std::uint32_t end,
               BlockType type,
               std::span<const float> values) {
        const bool steps = type == BlockType::steps;
        std::string raw;
        append_bytes(raw, contig);
        append_bytes(raw, begin);
        append_bytes(raw, end);
        append_bytes(raw, steps ? width_ : 0);
        append_bytes(raw, steps ? width_ : 0);
        append_bytes(raw, type);
        append_bytes(raw, std::uint8_t{0});
        append_bytes(raw, static_cast<std::uint16_t>(values.size()));
        if (!steps) {
            append_bytes(raw, begin);
            append_bytes(raw, end);
        }
        raw.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
        blocks_.add(contig, begin, end, std::move(raw));
    }

    Blocks blocks_;
    std::uint32_t width_;
    std::vector<ZoomLevel> levels_;
    Totals totals_;
};

namespace {

/// Where the parts of a file begin.
struct Places {
    std::int64_t totals = 0;
    std::int64_t contigs = 0;
    std::int64_t values = 0;
    std::int64_t index = 0;
};

std::string head(const Places& places, std::size_t levels, std::size_t largest_block) {
    std::string text;
    append_bytes(text, kMagic);
    append_bytes(text, kVersion);
    append_bytes(text, static_cast<std::uint16_t>(levels));
    for (const std::int64_t at : {places.contigs, places.values, places.index}) {
        append_bytes(text, static_cast<std::uint64_t>(at));
    }
    append_bytes(text, std::uint32_t{0});  // fields, of bigBed alone
    append_bytes(text, std::uint64_t{0});  // their description
    append_bytes(text, static_cast<std::uint64_t>(places.totals));
    append_bytes(text, static_cast<std::uint32_t>(largest_block));
    append_bytes(text, std::uint64_t{0});  // extensions
    return text;
}

std::string bytes(const Totals& totals) {
    std::string text;
    append_bytes(text, totals.bases);
    const bool none = totals.bases == 0;
    for (const double value :
         {none ? 0.0 : totals.least, none ? 0.0 : totals.most, totals.sum, totals.squares}) {
        append_bytes(text, value);
    }
    return text;
}

const std::string& require_file(const std::string& path) {
    MAMBASE_REQUIRE(path != "-", ErrorCode::unsupported,
                    "a bigWig is written in place: it needs a file, not standard output");
    return path;
}

}  // namespace

BigWigSink::BigWigSink(const std::string& path, std::int64_t width, int threads)
    : out_(require_file(path)),
      width_(static_cast<std::uint32_t>(width)),
      threads_(threads),
      spool_(File::temporary()) {
    MAMBASE_REQUIRE(
        width >= 1 && width <= std::numeric_limits<std::uint32_t>::max() / kFirstReduction,
        ErrorCode::unsupported, concat("a bigWig with bins of ", width, " bases"));
}

void BigWigSink::contig(std::string_view name, std::int64_t length) {
    flush_run();
    names_.add(name, out_.path());
    if (length > std::numeric_limits<std::uint32_t>::max()) {
        throw Error(ErrorCode::unsupported,
                    concat(name, " has ", format_count(length),
                           " bases, a bigWig cannot address more than 4,294,967,295"))
            .at(out_.path());
    }
    contigs_.push_back({std::string(name), static_cast<std::uint32_t>(length), spooled_, spooled_});
}

void BigWigSink::values(std::int64_t begin, std::span<const float> values) {
    MAMBASE_ASSERT(!contigs_.empty() && begin % width_ == 0);
    while (!values.empty()) {
        const auto next = run_begin_ + static_cast<std::int64_t>(run_.size()) * width_;
        if (begin != next || run_.size() == kMostInRun) {
            flush_run();
        }
        if (run_.empty()) {
            run_begin_ = begin;
        }
        const std::size_t n = std::min(values.size(), kMostInRun - run_.size());
        run_.insert(run_.end(), values.begin(), values.begin() + static_cast<std::ptrdiff_t>(n));
        values = values.subspan(n);
        begin += static_cast<std::int64_t>(n) * width_;
    }
}

void BigWigSink::flush_run() {
    if (run_.empty()) {
        return;
    }
    const std::array<std::int64_t, 2> head{run_begin_, static_cast<std::int64_t>(run_.size())};
    spool_.write_at(std::as_bytes(std::span(head)), spooled_);
    spooled_ += static_cast<std::int64_t>(sizeof head);
    const std::span<const float> values(run_);
    spool_.write_at(std::as_bytes(values), spooled_);
    spooled_ += static_cast<std::int64_t>(values.size_bytes());
    contigs_.back().end = spooled_;
    run_.clear();
}

void BigWigSink::write_values(ValueWriter& writer) {
    std::array<std::int64_t, 2> head{};
    for (std::size_t i = 0; i < contigs_.size(); ++i) {
        for (std::int64_t at = contigs_[i].offset; at < contigs_[i].end;) {
            spool_.read_at(std::as_writable_bytes(std::span(head)), at);
            run_.resize(static_cast<std::size_t>(head[1]));
            const std::span<float> values(run_);
            spool_.read_at(std::as_writable_bytes(values),
                           at + static_cast<std::int64_t>(sizeof head));
            writer.write(static_cast<std::uint32_t>(i), contigs_[i].length,
                         static_cast<std::uint32_t>(head[0]), values);
            at += static_cast<std::int64_t>(sizeof head + values.size_bytes());
        }
    }
}

void BigWigSink::finish() {
    flush_run();
    std::sort(contigs_.begin(), contigs_.end(),
              [](const Contig& a, const Contig& b) { return a.name < b.name; });
    std::vector<BigWigContig> table;
    std::uint32_t longest = 0;
    for (const Contig& contig : contigs_) {
        table.push_back({contig.name, contig.length});
        longest = std::max(longest, contig.length);
    }
    ThreadPool pool(threads_);
    ValueWriter writer(out_, pool, width_, longest);
    Places places;
    places.totals = kHeadBytes + std::ssize(writer.levels()) * kLevelHeadBytes;
    out_.write(std::string(static_cast<std::size_t>(places.totals + kTotalsBytes), '\0'));
    places.contigs = out_.position();
    write_contig_tree(out_, table);
    places.values = out_.position();
    out_.write(std::string(sizeof(std::uint64_t), '\0'));
    write_values(writer);
    writer.blocks().flush();
    places.index = out_.position();
    write_block_tree(out_, writer.blocks().blocks(), 1);
    std::size_t largest = writer.blocks().largest();
    std::string level_heads;
    for (ZoomLevel& level : writer.levels()) {
        level_heads += level.write(out_, pool, largest);
    }
    std::string text;
    append_bytes(text, kMagic);  // closes the file, as it opens it
    out_.write(text);
    out_.flush();

    text = head(places, writer.levels().size(), largest) + level_heads + bytes(writer.totals());
    out_.write_at(std::as_bytes(std::span<const char>(text)), 0);
    std::string count;
    append_bytes(count, static_cast<std::uint64_t>(writer.blocks().blocks().size()));
    out_.write_at(std::as_bytes(std::span<const char>(count)), places.values);
    out_.commit();
}

}  // namespace mambase::io
