#include "pipelines/run_record.hpp"

#include "base/error.hpp"
#include "pipelines/build_info.hpp"
#include "pipelines/metrics.hpp"

#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

std::string_view name(PretrainEnd end) {
    switch (end) {
        case PretrainEnd::finished:
            return "finished";
        case PretrainEnd::time_up:
            return "time_up";
        case PretrainEnd::signalled:
            return "signalled";
        case PretrainEnd::dry_run:
            break;
    }
    throw_error(ErrorCode::internal, "a dry run has no record");
}

std::int64_t bases_of(const std::vector<io::Region>& regions) {
    std::int64_t bases = 0;
    for (const io::Region& region : regions) {
        bases += region.end - region.begin;
    }
    return bases;
}

Json data_json(const io::TokenStore& store, const DataSplit& split, std::int64_t train_windows) {
    io::RecordSummary sum;
    for (const io::StoredContig& contig : store.contigs()) {
        sum.length += contig.summary.length;
        sum.acgt += contig.summary.acgt;
        sum.ambiguous += contig.summary.ambiguous;
        sum.soft_masked += contig.summary.soft_masked;
        sum.in_gaps += contig.summary.in_gaps;
    }
    return {{"contigs", store.contigs().size()},
            {"bases", sum.length},
            {"acgt", sum.acgt},
            {"ambiguous", sum.ambiguous},
            {"soft_masked", sum.soft_masked},
            {"in_gaps", sum.in_gaps},
            {"train_bases", bases_of(split.train)},
            {"train_windows", train_windows},
            {"valid_bases", bases_of(split.held_out)},
            {"valid_windows", split.valid.size()}};
}

Json context_json(const ValidatedContext& context) {
    Json trials = Json::array();
    for (const ContextTrial& trial : context.trials) {
        trials.push_back({{"context", trial.context},
                          {"blocks", trial.blocks},
                          {"bases", trial.bases},
                          {"bits", bits(trial.nats)},
                          {"difference", bits(trial.difference)},
                          {"standard_error", bits(trial.standard_error)}});
    }
    Json out = {{"validated", context.context}, {"trials", std::move(trials)}};
    if (context.context == 0) {
        out["validated"] = "unbounded";
    }
    return out;
}

Json outcome_json(const PretrainReport& report, const Runtime& runtime) {
    Json out = {{"end", name(report.end)},
                {"steps", report.steps},
                {"steps_done", report.steps_done},
                {"bases_done", report.bases_done},
                {"parameters", report.parameters}};
    if (report.valid_bits) {
        out["best_step"] = report.best_step;
        out["valid_bits"] = *report.valid_bits;
    }
    if (report.context) {
        out["context"] = context_json(*report.context);
    }
    if (!report.model_hash.empty()) {
        out["model"] = report.model_hash;
    }
    if (!runtime.no_pg) {
        out["seconds"] = report.seconds;
    }
    return out;
}

}  // namespace

std::string run_record(const PretrainOptions& options,
                       const NamedValues& values,
                       const io::TokenStore& store,
                       const DataSplit& split,
                       std::int64_t train_windows,
                       const PretrainReport& report,
                       const Runtime& runtime) {
    Json record = {{"format_version", 1}, {"version", runtime.version}};
    if (!runtime.no_pg) {
        record["command_line"] = runtime.command_line;
        record["device"] = backend_name(runtime.device);
    }
    record["inputs"] = options.inputs;
    Json& given = record["options"] = Json::object();
    for (const auto& [key, value] : values) {
        given[key] = value;
    }
    record["data"] = data_json(store, split, train_windows);
    record["outcome"] = outcome_json(report, runtime);
    return record.dump(2) + "\n";
}

}  // namespace mambase::pipelines
