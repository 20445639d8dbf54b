#include "pipelines/metrics.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "tests/support/temp_dir.hpp"

#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace mambase::pipelines;

TEST_CASE("A log is cut back to a step, torn ends left out", "[metrics]") {
    const std::string one = "{\"step\":1,\"loss\":1.5}\n";
    const std::string two = "{\"step\":2,\"loss\":1.25}\n";
    const std::string valid = "{\"step\":2,\"valid_loss\":1.5}\n";
    const std::string three = "{\"step\":3,\"loss\":1}\n";
    CHECK(cut_metrics(one + two + valid + three, 2, "m") == one + two + valid);
    CHECK(cut_metrics(one + two + valid + three, 9, "m") == one + two + valid + three);
    CHECK(cut_metrics(one + two + valid + three, 0, "m").empty());
    CHECK(cut_metrics(one + "{\"step\":2,\"lo", 2, "m") == one);
    CHECK(cut_metrics("", 2, "m").empty());
}

TEST_CASE("A line that is not ours is named", "[metrics]") {
    try {
        cut_metrics("{\"step\":1}\nhello\n", 5, "dir/metrics.jsonl");
        FAIL("no error");
    } catch (const mambase::Error& error) {
        CHECK(error.code() == mambase::ErrorCode::format);
        CHECK(std::string(error.what()).find("dir/metrics.jsonl: line 2") != std::string::npos);
    }
}

TEST_CASE("Steps and validations are JSON lines after the earlier ones", "[metrics]") {
    const mambase::test::TempDir dir;
    const std::string path = dir.file("metrics.jsonl");
    {
        MetricsLog log(path, "{\"step\":1}\n", false);
        log.add(StepMetrics{2, 2048, 0.6931471805599453, 1e-3, 0.25, 0.125});
        log.add(ValidMetrics{2, 1.25, 1000, 0.5});
        log.flush();
        const std::string text = mambase::read_text(path);
        CHECK(text.rfind("{\"step\":1}\n{\"step\":2,", 0) == 0);
        CHECK(text.find("seconds") == std::string::npos);
    }
    MetricsLog timed(path, "", true);
    timed.add(StepMetrics{3, 3072, 0.6931471805599453, 1e-3, 0.25, 0.125});
    timed.flush();
    const auto line = nlohmann::json::parse(mambase::read_text(path));
    CHECK(line["bits"] == Approx(1.0));
    CHECK(line["lr"] == 1e-3);
    CHECK(line["gradient_norm"] == 0.25);
    CHECK(line["seconds"] == 0.125);
    CHECK(line["bases"] == 3072);
}

TEST_CASE("A log that cannot be written is an error", "[metrics]") {
    CHECK_THROWS_AS(MetricsLog("/nowhere/at/all/metrics.jsonl", "", true), mambase::Error);
}
