#include "pipelines/evaluate_shard.hpp"

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "pipelines/description.hpp"
#include "pipelines/shard_files.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;
using By = EvaluateOptions::By;
using Of = SumLine::Of;

constexpr std::int64_t kVersion = 1;
constexpr std::array kKinds = {std::pair{Of::contig, std::string_view("contig")},
                               std::pair{Of::region, std::string_view("region")},
                               std::pair{Of::position, std::string_view("position")},
                               std::pair{Of::markov, std::string_view("markov")}};
constexpr std::int64_t kPositions = 63;

void add_tally(std::string& line, const Tally& tally) {
    line += concat('\t', tally.bases, '\t', tally.nats, '\t', tally.correct);
}

Json context_json(std::int64_t context) {
    return context == kWholeContext ? Json("whole") : Json(context);
}

EvaluateLines lines_of(const Json& description, const std::string& path) {
    try {
        EvaluateLines lines;
        for (const Json& context : description.at("contexts")) {
            lines.contexts.push_back(context == "whole" ? kWholeContext
                                                        : context.get<std::int64_t>());
        }
        lines.compares = description.at("compares").get<bool>();
        for (const By by : {By::contig, By::region, By::position, By::all}) {
            if (name(by) == description.at("by")) {
                lines.by = by;
            }
        }
        lines.orders = description.at("baseline").get<std::vector<int>>();
        if (!lines.contexts.empty()) {
            return lines;
        }
    } catch (const Json::exception&) {
    }
    throw Error(ErrorCode::format, "its last line does not say what the lines of the table are")
        .at(path);
}

/// Goes through one shard, part by part.
class ShardReader {
  public:
    explicit ShardReader(const std::string& path) : file_(path) {
        description_ = file_.open_shard(kEvaluateShardMark, kVersion);
        while (!advance() && fields_.size() == 2 && fields_[0] == "region") {
            regions_.emplace_back(fields_[1]);
        }
    }

    const Json& description() const { return description_; }
    /// That have a line.
    const std::vector<std::string>& regions() const { return regions_; }
    /// Of the part that comes next.
    const std::optional<PartKey>& key() const { return key_; }

    /// Hands on the next part and its sums.
    void hand_on(const EvaluateLines& lines, SumSink& sink) {
        sink.part({key_->input, key_->number, file_.integer(fields_[3]), std::string(fields_[4])});
        std::vector<CaseTally> at(lines.contexts.size());
        while (advance()) {
            if (fields_.size() != 3 + 6 * at.size()) {
                file_.fail("has not as many fields as contexts ask for");
            }
            for (std::size_t c = 0; c < at.size(); ++c) {
                at[c] = {tally(3 + 6 * c), tally(6 + 6 * c)};
                if (at[c].all().bases != at[0].all().bases) {
                    file_.fail("the contexts have not the same bases");
                }
            }
            sink.block(line(lines), at);
        }
    }

  private:
    /// To the next line; true where it is a sum. At a part, or the end, key_ is set.
    bool advance() {
        key_.reset();
        if (!file_.next(fields_)) {
            file_.fail("was cut off: its description is missing");
        }
        if (fields_.size() >= 3 && fields_[0] == "sum") {
            return true;
        }
        if (fields_.size() == 5 && fields_[0] == "part") {
            key_ = {file_.integer(fields_[1]), file_.integer(fields_[2])};
        } else if (fields_[0] != "region" && !fields_[0].starts_with('{')) {
            file_.fail("neither a part nor a sum");
        }
        return false;
    }

    SumLine line(const EvaluateLines& lines) const {
        const std::array<std::int64_t, 4> ends = {1, std::ssize(lines.regions), kPositions,
                                                  std::ssize(lines.orders)};
        for (std::size_t kind = 0; kind < kKinds.size(); ++kind) {
            const std::int64_t index = file_.integer(fields_[2]);
            if (fields_[1] == kKinds[kind].second && index >= 0 && index < ends[kind]) {
                return {kKinds[kind].first, index};
            }
        }
        file_.fail("a sum of no line of the table");
    }

    Tally tally(std::size_t first) const {
        const Tally tally{file_.integer(fields_[first]), file_.real(fields_[first + 1]),
                          file_.integer(fields_[first + 2])};
        if (tally.bases < 0 || tally.bases > kMostContext || tally.correct < 0 ||
            tally.correct > tally.bases) {
            file_.fail("counts that cannot be");
        }
        return tally;
    }

    TabbedFile file_;
    std::vector<std::string_view> fields_;
    Json description_;
    std::vector<std::string> regions_;
    std::optional<PartKey> key_;
};

}  // namespace

std::string_view name(By by) {
    switch (by) {
        case By::contig:
            return "contig";
        case By::region:
            return "region";
        case By::position:
            return "position";
        case By::all:
            break;
    }
    return "all";
}

Json lines_json(const EvaluateLines& lines) {
    Sha256 names;
    for (const std::string& region : lines.regions) {
        names.update(region + '\n');
    }
    Json contexts = Json::array();
    for (const std::int64_t context : lines.contexts) {
        contexts.push_back(context_json(context));
    }
    return {{"contexts", contexts},
            {"compares", lines.compares},
            {"by", name(lines.by)},
            {"regions", names.hex()},
            {"baseline", lines.orders}};
}

EvaluateShardWriter::EvaluateShardWriter(const std::string& path, const EvaluateLines& lines)
    : out_(path), all_(lines.contexts.size()) {
    out_.write(concat(kEvaluateShardMark, kVersion, '\n'));
    for (const std::string& region : lines.regions) {
        out_.write(concat("region\t", region, '\n'));
    }
}

void EvaluateShardWriter::part(const EvaluatePart& part) {
    ++parts_;
    out_.write(
        concat("part\t", part.input, '\t', part.number, '\t', part.contig, '\t', part.name, '\n'));
}

void EvaluateShardWriter::block(SumLine line, std::span<const CaseTally> at_contexts) {
    if (line.of == Of::contig) {
        all_.add_block(at_contexts);
    }
    std::string text =
        concat("sum\t", kKinds[static_cast<std::size_t>(line.of)].second, '\t', line.index);
    for (const CaseTally& at : at_contexts) {
        add_tally(text, at.upper);
        add_tally(text, at.lower);
    }
    out_.write(text + '\n');
}

void EvaluateShardWriter::finish(const Json& description) {
    out_.write(json_line(description));
    out_.commit();
}

EvaluateReport merge_evaluation(const std::vector<std::string>& paths,
                                const std::string& output,
                                const Runtime& runtime) {
    std::vector<Json> descriptions;
    for (const std::string& path : paths) {
        descriptions.push_back(ShardReader(path).description());
    }
    const std::vector<std::size_t> order = shards_in_order(descriptions, paths, {"command"});
    EvaluateLines lines = lines_of(descriptions.front(), paths.front());
    std::vector<std::unique_ptr<ShardReader>> shards;
    std::vector<std::optional<PartKey>> keys;
    for (const std::size_t i : order) {
        shards.push_back(std::make_unique<ShardReader>(paths[i]));
        keys.push_back(shards.back()->key());
    }
    lines.regions = shards.front()->regions();
    EvaluateTable table(output, lines);
    while (const std::optional<std::size_t> next = first_of(keys)) {
        runtime.throw_if_stopped();
        shards[*next]->hand_on(lines, table);
        keys[*next] = shards[*next]->key();
    }
    table.finish();
    return report_of(table, lines);
}

}  // namespace mambase::pipelines
