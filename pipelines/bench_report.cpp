#include "pipelines/bench.hpp"

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

Json rows_json(const BenchReport& report, const std::vector<BenchRow>& rows) {
    Json out = Json::array();
    for (const BenchRow& row : rows) {
        Json object = {{"what", row.what},
                       {"bases", row.bases},
                       {"seconds", row.seconds},
                       {"spread", row.spread},
                       {"ns_per_base", row.ns_per_base()},
                       {"megabases_per_second", row.megabases_per_second()}};
        if (row.product_seconds > 0.0) {
            object["product_seconds"] = row.product_seconds;
            object["ratio"] = row.ratio();
        }
        if (row.flops > 0.0) {
            object["gflops"] = row.gflops();
        }
        if (row.bytes > 0.0) {
            object["bytes"] = row.bytes;
            object["gigabytes_per_second"] = row.gigabytes();
            object["share_of_copy"] = report.copy_share(row);
        }
        if (row.chunk > 0) {
            object["chunk"] = row.chunk;
        }
        if (row.peak_bytes > 0) {
            object["peak_bytes"] = row.peak_bytes;
        }
        out.push_back(std::move(object));
    }
    return out;
}

}  // namespace

std::string bench_json(const BenchReport& report) {
    Json out = {{"device", report.device},   {"precision", report.precision},
                {"threads", report.threads}, {"d_model", report.d_model},
                {"layers", report.layers},   {"lanes", report.lanes},
                {"length", report.length},   {"op_length", report.op_length}};
    if (report.delta) {
        out["delta"] = *report.delta;
    }
    out["repeats"] = report.repeats;
    out["copy_gigabytes_per_second"] = report.copy_gigabytes;
    out["model"] = rows_json(report, report.model);
    out["ops"] = rows_json(report, report.ops);
    out["unfused"] = {{"lanes", report.scan_lanes},
                      {"length", report.scan_length},
                      {"scans", rows_json(report, report.scans)}};
    if (report.two_thread_forward && report.two_thread_step) {
        out["two_threads"] = {{"forward", *report.two_thread_forward},
                              {"training_step", *report.two_thread_step}};
    }
    out["scan"] = {{"exps_per_base", report.scan_exps_per_base},
                   {"operations_per_base", report.scan_operations_per_base},
                   {"seconds_per_exp", report.scan_seconds_per_exp}};
    return out.dump(2) + "\n";
}

}  // namespace mambase::pipelines
