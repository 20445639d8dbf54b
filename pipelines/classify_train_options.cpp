#include "base/error.hpp"
#include "base/text.hpp"
#include "model/adamw.hpp"
#include "pipelines/classify_train.hpp"
#include "pipelines/reading.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kMostCount = std::int64_t{1} << 40;

}  // namespace

void ClassifyTrainOptions::validate() const {
    std::vector<std::string> violations;
    const auto require = [&](bool holds, std::string text) {
        if (!holds) {
            violations.push_back(std::move(text));
        }
    };
    require(!samples.empty(), "no table of samples");
    require(!model.empty(), "no model directory to start from (-m; model init makes a fresh one)");
    require(!output.empty() && output != "-", "the output is a directory; name it");
    require(!resume.empty(), "resume is auto, never or a directory");
    const std::pair<const char*, std::optional<std::int64_t>> counts[] = {
        {"context", context},
        {"steps", steps},
        {"batch", batch},
        {"eval-every", eval_every},
        {"valid-windows", valid_windows}};
    for (const auto& [name, count] : counts) {
        require(!count || (*count >= 1 && *count <= kMostCount),
                concat(name, " is from 1 to 2^40, not ", count.value_or(0)));
    }
    require(chunk >= 0, concat("chunk is at least 1, not ", chunk));
    require(!max_time || *max_time > 0.0, "max-time is above 0");
    require(!lr || (*lr > 0.0 && *lr <= 1.0), "lr is above 0, at most 1");
    require(warmup >= 0.0 && warmup < 1.0, "warmup is a share of the steps from 0 to below 1");
    try {
        model::AdamWOptions{.weight_decay = weight_decay, .clip = clip}.validate();
    } catch (const Error& error) {
        violations.push_back(error.message());
    }
    throw_violations(violations);
}

}  // namespace mambase::pipelines
