// The section of a training run: its loss, and what run.json says.
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/chart.hpp"
#include "pipelines/html.hpp"
#include "pipelines/report_sections.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

/// The course of a run, by the bases read.
struct Course {
    bool of_bases = false;  // losses are bits a base; else nats a window
    std::vector<ChartPoint> train;
    std::vector<ChartPoint> valid;
    std::vector<ChartPoint> accuracy;  // of a classifier, on the validation windows
};

double number(const Json& line, const char* key) {
    const auto found = line.find(key);
    return found != line.end() && found->is_number() ? found->get<double>() : std::nan("");
}

Course read_course(const std::string& path) {
    Course course;
    std::map<double, double> bases_at;  // by step
    std::vector<Json> validations;
    std::int64_t count = 0;
    const std::string text = read_text(path);
    for (const std::string_view line : split(text, '\n')) {
        ++count;
        if (line.empty()) {
            continue;
        }
        const Json json = Json::parse(line, nullptr, false);
        if (!json.is_object() || !json.contains("step")) {
            if (count == std::count(text.begin(), text.end(), '\n') + 1) {
                break;  // a run that is being written, or was cut off
            }
            throw Error(ErrorCode::format, "not a line of training metrics")
                .at(path)
                .offset(count, "line");
        }
        if (json.contains("loss")) {
            bases_at[number(json, "step")] = number(json, "bases");
            course.train.push_back({number(json, "bases"), number(json, "loss")});
        } else {
            validations.push_back(json);
        }
    }
    course.of_bases = std::none_of(validations.begin(), validations.end(), [](const Json& json) {
        return json.contains("valid_accuracy");
    });
    const double unit = course.of_bases ? std::log(2.0) : 1.0;
    for (ChartPoint& point : course.train) {
        point.y /= unit;
    }
    for (const Json& json : validations) {
        const auto at = bases_at.find(number(json, "step"));
        const double bases = at == bases_at.end() ? 0.0 : at->second;
        course.valid.push_back({bases, number(json, "valid_loss") / unit});
        if (!course.of_bases) {
            course.accuracy.push_back({bases, number(json, "valid_accuracy")});
        }
    }
    return course;
}

/// Means of stretches, at most a few hundred of them.
std::vector<ChartPoint> smoothed(const std::vector<ChartPoint>& points) {
    constexpr std::size_t most = 300;
    const std::size_t size = (points.size() + most - 1) / most;
    std::vector<ChartPoint> out;
    for (std::size_t begin = 0; begin < points.size(); begin += size) {
        const std::size_t end = std::min(begin + size, points.size());
        double sum = 0.0;
        for (std::size_t i = begin; i < end; ++i) {
            sum += points[i].y;
        }
        out.push_back({points[end - 1].x, sum / static_cast<double>(end - begin)});
    }
    return out;
}

std::string course_charts(const Course& course) {
    const std::vector<ChartPoint> train = smoothed(course.train);
    // The first steps fall from far above; what comes of them is what one wants to see.
    double low = train.front().y;
    double high = train.back().y;
    for (const ChartPoint& point : course.valid) {
        low = std::min(low, point.y);
        high = std::max(high, point.y);
    }
    for (std::size_t i = 0; i < train.size(); ++i) {
        low = std::min(low, train[i].y);
        high = i >= train.size() / 20 ? std::max(high, train[i].y) : high;
    }
    const double margin = 0.04 * std::max(high - low, 1e-6);
    const std::string unit = course.of_bases ? "bits a base" : "nats a window";
    Chart loss{.title = concat("Loss in ", unit, " by bases read"),
               .x = {.label = "bases read", .low = 0.0},
               .y = {.label = unit, .low = low - margin, .high = high + margin}};
    loss.series.push_back({"training (means of stretches)", train});
    loss.series.push_back({"validation", course.valid, ChartSeries::Mark::both});
    if (course.valid.empty()) {
        loss.series.pop_back();
    }
    std::string out = draw(loss);
    if (!course.accuracy.empty()) {
        Chart accuracy{.title = "Accuracy on the validation windows by bases read",
                       .x = {.label = "bases read", .low = 0.0},
                       .y = {.label = "accuracy, validation"}};
        accuracy.series.push_back({"validation", course.accuracy, ChartSeries::Mark::both});
        out += draw(accuracy);
    }
    return out;
}

std::string value_text(const Json& value) {
    if (value.is_string()) {
        return value.get<std::string>();
    }
    if (value.is_number_integer()) {
        return format_count(value.get<std::int64_t>());
    }
    if (value.is_number_float()) {
        const double number = value.get<double>();
        return std::abs(number) >= 1e-3 && std::abs(number) < 1e6 ? format_fixed(number, 4)
                                                                  : concat(number);
    }
    if (value.is_array()) {
        std::string out;
        for (const Json& one : value) {
            out += (out.empty() ? "" : ", ") + value_text(one);
        }
        return out;
    }
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What the run came to, was given and read: the members of run.json, objects in tables.
std::string record_tables(const std::string& path) {
    const Json record = Json::parse(read_text(path), nullptr, false);
    if (!record.is_object()) {
        throw Error(ErrorCode::format, "not the record of a run: no JSON object").at(path);
    }
    HtmlTable plain{{"run", ""}, {}};
    std::string tables;
    for (const auto& [key, value] : record.items()) {
        if (!value.is_object()) {
            plain.rows.push_back({key, value_text(value)});
            continue;
        }
        HtmlTable table{{key, ""}, {}};
        for (const auto& [name, field] : value.items()) {
            table.rows.push_back({name, value_text(field)});
        }
        tables = html_table(table) + tables;  // last comes the outcome
    }
    return concat("<div class=\"tables\">\n", tables, html_table(plain), "</div>\n");
}

}  // namespace

std::string training_section(const std::string& directory) {
    const std::string metrics = concat(directory, "/metrics.jsonl");
    const std::string record = concat(directory, "/run.json");
    if (!exists(metrics) && !exists(record)) {
        throw Error(ErrorCode::not_found,
                    "neither metrics.jsonl nor run.json is in it: not the directory of a run")
            .at(directory);
    }
    std::string out =
        concat("<h2>Training</h2>\n<p class=\"soft\">", escape_html(directory), "</p>\n");
    if (exists(metrics)) {
        const Course course = read_course(metrics);
        out +=
            course.train.empty() ? "<p>No step is in metrics.jsonl.</p>\n" : course_charts(course);
        if (!course.valid.empty()) {
            const auto best = std::min_element(
                course.valid.begin(), course.valid.end(),
                [](const ChartPoint& a, const ChartPoint& b) { return a.y < b.y; });
            out += concat("<p>Best validation: ", format_fixed(best->y, 4),
                          course.of_bases ? " bits a base" : " nats a window", ", after ",
                          format_bases(best->x), ".</p>\n");
        }
    }
    if (exists(record)) {
        out += record_tables(record);
    }
    return out;
}

}  // namespace mambase::pipelines
