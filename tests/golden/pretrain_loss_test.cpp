// The loss of twenty steps stays what it was.
#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/pretrain.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/synthetic_fasta.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdlib>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace mambase;
using namespace mambase::pipelines;

namespace {

// Instruction sets and math libraries round differently: 1e-7 relative in a forward pass, and some
// ten times that after twenty updates of normalised size. A change of a formula shows at 1e-3.
constexpr double kTolerance = 1e-5;

const std::string kGolden = MAMBASE_SOURCE_DIR "/tests/golden/pretrain_loss.txt";

std::vector<double> loss_curve() {
    const test::TempDir dir;
    std::string bases = test::markov_bases(30'000, 11);
    bases.replace(5'000, 40, 40, 'N');
    for (std::size_t i = 10'000; i < 15'000; ++i) {
        bases[i] = static_cast<char>(bases[i] + ('a' - 'A'));
    }
    write_text(dir.file("in.fa"), test::fasta_record("chr", bases));
    PretrainOptions options;
    options.inputs = {dir.file("in.fa")};
    options.output = dir.file("out");
    options.d_model = 32;
    options.layers = 2;
    options.context = 300;
    options.batch = 4;
    options.steps = 20;
    options.seed = 1;
    const Observer quiet;
    pretrain(options, {.threads = 2, .device = {}, .observer = quiet, .command_line = {}});

    std::vector<double> out;
    const std::string log = read_text(dir.file("out/metrics.jsonl"));
    for (const std::string_view line : split(log, '\n')) {
        const auto json = nlohmann::json::parse(line, nullptr, false);
        if (json.is_object() && json.contains("loss")) {
            out.push_back(json["loss"]);
        }
    }
    return out;
}

}  // namespace

TEST_CASE("Loss curve of twenty steps", "[golden]") {
    const std::vector<double> losses = loss_curve();
    REQUIRE(losses.size() == 20);
    if (std::getenv("MAMBASE_UPDATE_GOLDEN") != nullptr) {
        std::string text;
        for (const double loss : losses) {
            text += format_fixed(loss, 9) + "\n";
        }
        write_text(kGolden, text);
    }
    const std::string text = read_text(kGolden);
    const auto lines = split(std::string_view(text).substr(0, text.size() - 1), '\n');
    REQUIRE(lines.size() == losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) {
        INFO("step " << i + 1);
        CHECK(losses[i] == Approx(std::stod(std::string(lines[i]))).epsilon(kTolerance));
    }
}
