#include "pipelines/embedding_sink.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/hdf5_sink.hpp"
#include "genomics_io/npy_sink.hpp"
#include "genomics_io/track_sink.hpp"
#include "pipelines/embedding_files.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

class ArrayFiles final : public EmbeddingSink {
  public:
    ArrayFiles(const EmbedOptions& options,
               const EmbedReport& report,
               const EmbeddingOrigin& origin)
        : options_(options),
          origin_(origin),
          array_(report.array, options.dtype, report.dim),
          table_(report.rows_table, options) {}

    void write_rows(std::int64_t first_row, const float* rows, std::int64_t n) override {
        array_.write_rows(first_row, rows, n);
    }
    void add(const RowSpan& span) override { table_.add(span); }
    void finish(const EmbedReport& report, const std::optional<ShardFacts>& shard) override {
        table_.finish();
        finish_embedding(
            report,
            [&] {
                write_description(report.description, options_, report, origin_.model_hash,
                                  origin_.tokenizer, shard, origin_.runtime);
            },
            [&] { array_.finish(report.rows); });
    }

  private:
    const EmbedOptions& options_;
    EmbeddingOrigin origin_;
    io::NpySink array_;
    RowsTable table_;
};

class Hdf5File final : public EmbeddingSink {
  public:
    Hdf5File(const EmbedOptions& options, const EmbedReport& report, const EmbeddingOrigin& origin)
        : options_(options), origin_(origin), sink_(report.array, options.dtype, report.dim) {}

    void write_rows(std::int64_t first_row, const float* rows, std::int64_t n) override {
        sink_.write_rows(first_row, rows, n);
    }
    void add(const RowSpan& span) override {
        sink_.add_span(span.name, span.bases.begin, span.bases.end, strand_sign(options_.strand),
                       span.first_row, span.rows(options_.pool));
    }
    void finish(const EmbedReport& report, const std::optional<ShardFacts>& shard) override {
        const nlohmann::ordered_json about = describe_numbers(
            options_, report, origin_.model_hash, origin_.tokenizer, shard, origin_.runtime);
        for (const auto& [key, value] : about.items()) {
            if (value.is_number()) {
                sink_.attribute(key, value.get<std::int64_t>());
            } else if (value.is_string()) {
                sink_.attribute(key, value.get<std::string>());
            } else {
                for (const auto& [part, text] : value.items()) {
                    sink_.attribute(concat(key, "_", part), text.get<std::string>());
                }
            }
        }
        sink_.finish(report.rows);
    }

  private:
    const EmbedOptions& options_;
    EmbeddingOrigin origin_;
    io::Hdf5Sink sink_;
};

/// Rows come in any order, a track's values do not: they wait in a file without a name, where a row
/// that never came is 0. A number that is 0 waits as -0.
class TrackFile final : public EmbeddingSink {
  public:
    TrackFile(const EmbedOptions& options, const EmbedReport& report, const EmbeddingOrigin& origin)
        : options_(options),
          origin_(origin),
          dim_(report.dim),
          width_(options.pool.how == Pool::bins ? options.pool.bin : 1),
          sink_(io::open_track(options.output, "embedding", width_, origin.runtime.threads)),
          spool_(File::temporary()) {}

    void write_rows(std::int64_t first_row, const float* rows, std::int64_t n) override {
        values_.resize(static_cast<std::size_t>(n));
        for (std::int64_t i = 0; i < n; ++i) {
            const float value = rows[i * dim_ + *options_.channel];
            if (!std::isfinite(value)) {
                throw Error(ErrorCode::format,
                            concat("the number of row ", first_row + i, " is not finite"))
                    .at(options_.output);
            }
            values_[static_cast<std::size_t>(i)] = value == 0.0F ? -0.0F : value;
        }
        const std::span<const float> values(values_);
        spool_.write_at(std::as_bytes(values), first_row * kBytes);
        written_ = std::max(written_, first_row + n);
    }
    void add(const RowSpan& span) override { spans_.push_back(span); }
    void finish(const EmbedReport& report, const std::optional<ShardFacts>& shard) override {
        const RowSpan* before = nullptr;
        for (const RowSpan& span : spans_) {
            if (before == nullptr || before->contig != span.contig || before->input != span.input) {
                sink_->contig(span.name, span.length);
            }
            before = &span;
            hand_on(span);
        }
        nlohmann::ordered_json about = describe_numbers(options_, report, origin_.model_hash,
                                                        origin_.tokenizer, shard, origin_.runtime);
        about["format"] = "mambase track";
        about["track"] = file_name(report.array);
        about["value"] = "embedding";
        about["channel"] = *options_.channel;
        about["bin"] = width_;
        finish_embedding(
            report, [&] { write_json(report.description, about); }, [&] { sink_->finish(); });
    }

  private:
    static constexpr std::int64_t kBytes = sizeof(float);
    static constexpr std::int64_t kBlock = std::int64_t{1} << 16;

    void hand_on(const RowSpan& span) {
        const std::int64_t end = std::min(span.first_row + span.rows(options_.pool), written_);
        for (std::int64_t row = span.first_row; row < end; row += kBlock) {
            values_.resize(static_cast<std::size_t>(std::min(kBlock, end - row)));
            spool_.read_at(std::as_writable_bytes(std::span<float>(values_)), row * kBytes);
            const auto is_there = [](float value) { return value != 0.0F || std::signbit(value); };
            auto from = std::find_if(values_.begin(), values_.end(), is_there);
            while (from != values_.end()) {
                const auto to = std::find_if_not(from, values_.end(), is_there);
                std::for_each(from, to, [](float& value) { value += 0.0F; });  // -0 is 0 again
                sink_->values(
                    span.bases.begin + (row - span.first_row + (from - values_.begin())) * width_,
                    std::span<const float>(from, to));
                from = std::find_if(to, values_.end(), is_there);
            }
        }
    }

    const EmbedOptions& options_;
    EmbeddingOrigin origin_;
    std::int64_t dim_;
    std::int64_t width_;
    std::unique_ptr<io::TrackSink> sink_;
    File spool_;
    std::int64_t written_ = 0;  // one past the highest row
    std::vector<float> values_;
    std::vector<RowSpan> spans_;
};

}  // namespace

EmbedFormat embed_format(const std::string& output) {
    if (output.ends_with(".npy")) {
        return EmbedFormat::array;
    }
    if (output.ends_with(".h5")) {
        return EmbedFormat::hdf5;
    }
    try {
        io::track_format(output);
    } catch (const Error&) {
        throw Error(ErrorCode::usage,
                    concat("the output is an array, so its name ends in .npy or .h5, or a track of "
                           "one channel: .bw, .bedgraph.gz, .tsv.gz; not \"",
                           output, "\""));
    }
    return EmbedFormat::track;
}

std::unique_ptr<EmbeddingSink> open_embedding(const EmbedOptions& options,
                                              const EmbedReport& report,
                                              const EmbeddingOrigin& origin) {
    switch (embed_format(options.output)) {
        case EmbedFormat::array:
            return std::make_unique<ArrayFiles>(options, report, origin);
        case EmbedFormat::hdf5:
            return std::make_unique<Hdf5File>(options, report, origin);
        case EmbedFormat::track:
            break;
    }
    return std::make_unique<TrackFile>(options, report, origin);
}

void name_files(EmbedReport& report, const EmbedOptions& options) {
    report.array = options.output;
    switch (embed_format(options.output)) {
        case EmbedFormat::array:
            report.rows_table = embedding_stem(options.output) + ".rows.tsv";
            report.description = embedding_stem(options.output) + ".json";
            break;
        case EmbedFormat::hdf5:
            break;  // all in one
        case EmbedFormat::track:
            report.description = concat(io::track_stem(options.output), ".json");
            break;
    }
}

std::int64_t output_bytes(const EmbedOptions& options, std::int64_t dim, std::int64_t rows) {
    return options.channel ? io::NpySink::file_bytes(io::RowType::f32, 1, rows)
                           : io::NpySink::file_bytes(options.dtype, dim, rows);
}

}  // namespace mambase::pipelines
