#include "pipelines/bench.hpp"

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

Json rows_json(const BenchReport& report, const std::vector<BenchRow>& rows) {
    Json out = Json::array();
    for (const BenchRow& row : rows) {
        Json object = {{"what", row.what},
                       {"seconds", row.seconds},
                       {"spread", row.spread},
                       {"ns_per_base", report.ns_per_base(row)},
                       {"megabases_per_second", report.megabases_per_second(row)},
                       {"product_seconds", row.product_seconds},
                       {"ratio", row.ratio()}};
        if (row.flops > 0.0) {
            object["gflops"] = row.gflops();
        }
        out.push_back(std::move(object));
    }
    return out;
}

}  // namespace

double BenchReport::ns_per_base(const BenchRow& row) const {
    return row.seconds / static_cast<double>(length) * 1e9;
}

double BenchReport::megabases_per_second(const BenchRow& row) const {
    return static_cast<double>(length) / row.seconds * 1e-6;
}

std::string bench_json(const BenchReport& report) {
    Json out = {{"device", report.device},
                {"threads", report.threads},
                {"d_model", report.d_model},
                {"layers", report.layers},
                {"length", report.length},
                {"repeats", report.repeats},
                {"model", rows_json(report, report.model)},
                {"ops", rows_json(report, report.ops)}};
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
