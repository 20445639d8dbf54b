#include "pipelines/score_shard.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/table_sink.hpp"
#include "genomics_io/text_track_sink.hpp"
#include "pipelines/description.hpp"
#include "pipelines/score_plan.hpp"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kVersion = 1;

/// What the description of a shard says of the values.
struct Values {
    std::string value;
    std::int64_t bin = 1;
    std::int64_t scored = 0;
    double sum = 0.0;
};

Values values_of(const Json& description, const std::string& path) {
    try {
        const Values values{description.at("value").get<std::string>(),
                            description.at("bin").get<std::int64_t>(),
                            description.at("bases_scored").get<std::int64_t>(),
                            description.at("sum").get<double>()};
        if (values.bin >= 1 && values.bin <= kLongestBin && values.scored >= 0) {
            return values;
        }
    } catch (const Json::exception&) {
    }
    throw Error(ErrorCode::format, "its last line does not say what the values are").at(path);
}

/// Goes through one shard, part by part.
class ShardReader {
  public:
    explicit ShardReader(const std::string& path) : file_(path) {
        description_ = file_.open_shard(kScoreShardMark, kVersion);
        if (advance()) {
            file_.fail("values of no part");
        }
    }

    const Json& description() const { return description_; }
    /// Of the part that comes next.
    const std::optional<PartKey>& key() const { return key_; }

    /// Hands on the next part and its values; how many they are. `latest`: the part before it, of
    /// any shard.
    std::int64_t hand_on(std::int64_t bin, std::optional<RowSpan>& latest, ScoreSink& sink) {
        RowSpan part = read_part();
        std::int64_t next = 0;  // base that has no value yet
        if (latest && latest->input == part.input && latest->contig == part.contig) {
            if (latest->name != part.name || latest->length != part.length) {
                file_.fail(concat("the shards do not agree on ", part.name));
            }
            next = latest->bases.end;
        }
        sink.open(part);
        std::int64_t count = 0;
        std::vector<float> values;
        while (advance()) {
            const std::int64_t begin = file_.integer(fields_[1]);
            if (begin < next || begin % bin != 0 || begin >= part.length ||
                std::ssize(fields_) - 2 > ceil_div(part.length - begin, bin)) {
                file_.fail(concat("values of no bases of ", part.name));
            }
            values.clear();
            for (std::size_t i = 2; i < fields_.size(); ++i) {
                values.push_back(value(fields_[i]));
            }
            sink.values(begin, values);
            count += std::ssize(values);
            next = begin + std::ssize(values) * bin;
        }
        part.bases.end = next;
        latest = std::move(part);
        return count;
    }

  private:
    /// To the next line; true where it has values. At a part, or the end, key_ is set.
    bool advance() {
        key_.reset();
        if (!file_.next(fields_)) {
            file_.fail("was cut off: its description is missing");
        }
        if (fields_.size() >= 3 && fields_[0] == "values") {
            return true;
        }
        if (fields_.size() == 6 && fields_[0] == "part") {
            key_ = {file_.integer(fields_[1]), file_.integer(fields_[2])};
        } else if (!fields_[0].starts_with('{')) {
            file_.fail("neither a part nor values");
        }
        return false;
    }

    RowSpan read_part() const {
        RowSpan part{std::string(fields_[4]),
                     file_.integer(fields_[3]),
                     file_.integer(fields_[5]),
                     {},
                     0,
                     key_->input,
                     key_->number};
        if (part.length < 0 || part.length > kMostContext) {
            file_.fail(concat("a record of ", part.length, " bases"));
        }
        return part;
    }

    float value(std::string_view field) const {
        float value = 0.0F;
        const char* const last = field.data() + field.size();
        const auto [end, failure] = std::from_chars(field.data(), last, value);
        if (failure != std::errc() || end != last || !std::isfinite(value)) {
            file_.fail(concat("'", field, "' is not a value"));
        }
        return value;
    }

    TabbedFile file_;
    std::vector<std::string_view> fields_;
    Json description_;
    std::optional<PartKey> key_;
};

}  // namespace

ScoreShardWriter::ScoreShardWriter(const std::string& path) : out_(path) {
    out_.write(concat(kScoreShardMark, kVersion, '\n'));
}

void ScoreShardWriter::open(const RowSpan& part) {
    io::require_plain_field(part.name, out_.path());
    out_.write(concat("part\t", part.input, '\t', part.part, '\t', part.contig, '\t', part.name,
                      '\t', part.length, '\n'));
}

void ScoreShardWriter::values(std::int64_t begin, std::span<const float> values) {
    std::string line = concat("values\t", begin);
    for (const float value : values) {
        line.push_back('\t');
        io::append_value(line, value);
    }
    out_.write(line + '\n');
}

void ScoreShardWriter::finish(const Json& description) {
    out_.write(json_line(description));
    out_.commit();
}

ScoreReport merge_scores(const std::vector<std::string>& paths,
                         const std::string& output,
                         const Runtime& runtime) {
    std::vector<Json> descriptions;
    ScoreReport report;
    for (const std::string& path : paths) {
        descriptions.push_back(ShardReader(path).description());
        const Values values = values_of(descriptions.back(), path);
        report.scored = checked_add(report.scored, values.scored);
        report.sum += values.sum;
    }
    const std::vector<std::size_t> order =
        shards_in_order(descriptions, paths, {"track", "bases_scored", "sum", "command"});
    std::vector<std::unique_ptr<ShardReader>> shards;
    std::vector<std::optional<PartKey>> keys;
    for (const std::size_t i : order) {
        shards.push_back(std::make_unique<ShardReader>(paths[i]));
        keys.push_back(shards.back()->key());
    }
    const Values all = values_of(descriptions.front(), paths.front());
    ScoreTrack track(output, all.value, all.bin, runtime.threads);
    std::optional<RowSpan> latest;
    while (const std::optional<std::size_t> next = first_of(keys)) {
        runtime.throw_if_stopped();
        report.values += shards[*next]->hand_on(all.bin, latest, track);
        keys[*next] = shards[*next]->key();
    }
    Json description = merged_description(descriptions.front(), runtime);
    description.erase("sum");
    description["track"] = file_name(output);
    description["bases_scored"] = report.scored;
    track.finish(description);
    report.output = output;
    report.description = description_path(output);
    return report;
}

}  // namespace mambase::pipelines
