#include "base/error.hpp"
#include "base/text.hpp"
#include "model/adamw.hpp"
#include "pipelines/pretrain.hpp"
#include "pipelines/reading.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kMostCount = std::int64_t{1} << 40;
constexpr std::int64_t kMostKept = 1'000'000;

void collect_shape_violations(const PretrainOptions& options, std::vector<std::string>& out) {
    const int sources = (options.preset.empty() ? 0 : 1) + (options.config.empty() ? 0 : 1) +
                        (options.model.empty() ? 0 : 1);
    if (sources > 1) {
        out.emplace_back("a preset, a config and a model exclude each other");
    }
    const std::pair<const char*, std::optional<std::int64_t>> sizes[] = {
        {"d-model", options.d_model}, {"layers", options.layers}, {"d-state", options.d_state},
        {"expand", options.expand},   {"d-conv", options.d_conv}, {"dt-rank", options.dt_rank},
    };
    for (const auto& [name, size] : sizes) {
        if (size && *size < 1) {
            out.emplace_back(concat(name, " is at least 1, not ", *size));
        }
        if (size && !options.model.empty()) {
            out.emplace_back(concat(name, " is what the model says"));
        }
    }
    const bool says_more = options.norm_eps || options.bias || options.no_conv_bias ||
                           options.untie || options.dt_min || options.dt_max ||
                           options.dt_init_floor || options.dt_scale || !options.dt_init.empty();
    if (says_more && !options.model.empty()) {
        out.emplace_back(
            "norm-eps, biases, the head and the steps' initialisation are what the model says");
    }
    if (!options.dt_init.empty() && options.dt_init != "random" && options.dt_init != "constant") {
        out.emplace_back(concat("dt-init is random or constant, not ", options.dt_init));
    }
}

void collect_count_violations(const PretrainOptions& options, std::vector<std::string>& out) {
    const std::pair<const char*, std::optional<std::int64_t>> counts[] = {
        {"context", options.context},       {"batch", options.batch},
        {"steps", options.steps},           {"bases", options.bases},
        {"eval-every", options.eval_every}, {"save-every", options.save_every},
    };
    for (const auto& [name, count] : counts) {
        if (count && (*count < 1 || *count > kMostCount)) {
            out.emplace_back(concat(name, " is from 1 to 2^40, not ", *count));
        }
    }
    if (options.steps && options.bases) {
        out.emplace_back("steps and bases exclude each other");
    }
    if (options.chunk < 0) {
        out.emplace_back(concat("chunk is at least 1, not ", options.chunk));
    }
    if (options.keep < 0 || options.keep > kMostKept) {
        out.emplace_back(concat("keep is from 0 to ", kMostKept, ", not ", options.keep));
    }
    if (options.max_time && !(*options.max_time > 0.0)) {
        out.emplace_back(concat("max-time is above 0, not ", *options.max_time));
    }
}

void collect_rate_violations(const PretrainOptions& options, std::vector<std::string>& out) {
    const auto require_within = [&out](const char* name, double value, double low, double high) {
        if (!(value >= low && value <= high)) {
            out.emplace_back(concat(name, " is from ", low, " to ", high, ", not ", value));
        }
    };
    if (options.lr && !(*options.lr > 0.0 && *options.lr <= 1.0)) {
        out.emplace_back(concat("lr is above 0, at most 1, not ", *options.lr));
    }
    if (options.min_lr) {
        require_within("min-lr", *options.min_lr, 0.0, options.lr.value_or(1.0));
    }
    require_within("carry", options.carry, 0.0, 1.0);
    require_within("mask-weight", options.mask_weight, 0.0, 1.0);
    if (!(options.warmup >= 0.0 && options.warmup < 1.0)) {
        out.emplace_back(
            concat("warmup is a share of the steps from 0 to below 1, not ", options.warmup));
    }
}

}  // namespace

void PretrainOptions::validate() const {
    std::vector<std::string> violations;
    if (inputs.empty()) {
        violations.emplace_back("no input file");
    }
    if (std::count(inputs.begin(), inputs.end(), "-") > 1) {
        violations.emplace_back("standard input can be read once");
    }
    if (output.empty() || output == "-") {
        violations.emplace_back("the output is a directory; name it");
    }
    if (resume.empty()) {
        violations.emplace_back("resume is auto, never or a directory");
    }
    collect_shape_violations(*this, violations);
    collect_count_violations(*this, violations);
    collect_rate_violations(*this, violations);
    try {
        model::AdamWOptions{
            .beta1 = beta1, .beta2 = beta2, .weight_decay = weight_decay, .clip = clip}
            .validate();
    } catch (const Error& error) {
        violations.push_back(error.message());
    }
    throw_violations(violations);
}

}  // namespace mambase::pipelines
