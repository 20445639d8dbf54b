// The sections of tables: of evaluate, of classify evaluate, and of any other.
#include "base/error.hpp"
#include "base/text.hpp"
#include "pipelines/chart.hpp"
#include "pipelines/html.hpp"
#include "pipelines/report_sections.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::size_t kMostRows = 200;
constexpr std::string_view kCalled = "called:";

std::string heading(std::string_view title, const io::TableReader& table) {
    return concat("<h2>", title, "</h2>\n<p class=\"soft\">", escape_html(table.path()), "</p>\n");
}

/// These columns of these rows, no more of them than can be read.
std::string table_of(const io::TableReader& table,
                     const std::vector<std::string>& columns,
                     const std::vector<std::size_t>& rows) {
    HtmlTable out{columns, {}};
    for (std::size_t i = 0; i < std::min(rows.size(), kMostRows); ++i) {
        std::vector<std::string> fields;
        for (const std::string& column : columns) {
            fields.push_back(table.text(rows[i], column));
        }
        out.rows.push_back(std::move(fields));
    }
    const std::string more =
        rows.size() <= kMostRows
            ? ""
            : concat("<p class=\"soft\">The first ", kMostRows, " of ",
                     format_count(static_cast<std::int64_t>(rows.size())), " rows.</p>\n");
    return html_table(out) + more;
}

std::vector<std::size_t> all_rows(const io::TableReader& table) {
    std::vector<std::size_t> rows(table.rows());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = i;
    }
    return rows;
}

/// The different texts of a column, as they come.
std::vector<std::string> values_of(const io::TableReader& table, std::string_view column) {
    std::vector<std::string> out;
    for (std::size_t row = 0; row < table.rows(); ++row) {
        const std::string& text = table.text(row, column);
        if (std::find(out.begin(), out.end(), text) == out.end()) {
            out.push_back(text);
        }
    }
    return out;
}

std::optional<double> whole_number(std::string_view text) {
    double value = 0.0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
    return digits && failure == std::errc() && end == text.data() + text.size()
               ? std::optional(value)
               : std::nullopt;
}

/// The middle (on a log scale) of a class of positions: "1", "2-3", "4-7", …, as evaluate --by
/// position names them.
std::optional<double> position_of(std::string_view name) {
    const std::size_t dash = name.find('-');
    const auto first = whole_number(name.substr(0, dash));
    if (!first || dash == std::string_view::npos) {
        return first && *first == 1.0 ? first : std::nullopt;
    }
    const auto last = whole_number(name.substr(dash + 1));
    const bool doubling = last && *last == 2.0 * *first - 1.0;
    return doubling ? std::optional(std::sqrt(*first * *last)) : std::nullopt;
}

/// Rows of one context; all of them in a table without.
std::string context_of(const io::TableReader& table, std::size_t row) {
    return table.has("context") ? table.text(row, "context") : std::string();
}

std::string position_chart(const io::TableReader& table) {
    Chart chart{.title = "Bits a base by the distance from where the state was reset",
                .x = {.label = "bases from the reset", .scale = ChartAxis::Scale::log2},
                .y = {.label = "bits a base"}};
    for (std::size_t row = 0; row < table.rows(); ++row) {
        const auto position = position_of(table.text(row, "name"));
        if (!position) {
            continue;
        }
        const std::string context = context_of(table, row);
        const std::string name = context.empty() ? "all" : concat("context ", context);
        const auto found =
            std::find_if(chart.series.begin(), chart.series.end(),
                         [&](const ChartSeries& series) { return series.name == name; });
        ChartSeries& series =
            found != chart.series.end()
                ? *found
                : chart.series.emplace_back(ChartSeries{name, {}, ChartSeries::Mark::both});
        series.points.push_back({*position, table.number(row, "bits")});
    }
    if (chart.series.empty()) {
        return "";
    }
    if (chart.series.size() == 1 && table.has({"upper_bits", "lower_bits"})) {
        for (const char* const part : {"upper", "lower"}) {
            ChartSeries series{concat(part, " case"), {}, ChartSeries::Mark::both};
            for (std::size_t row = 0; row < table.rows(); ++row) {
                if (const auto position = position_of(table.text(row, "name"))) {
                    series.points.push_back({*position, table.number(row, concat(part, "_bits"))});
                }
            }
            chart.series.push_back(std::move(series));
        }
    }
    return concat("<h3>By position</h3>\n", draw(chart));
}

/// "whole" stands one doubling past the longest.
std::string context_charts(const io::TableReader& table) {
    if (!table.has({"context", "difference", "standard_error"})) {
        return "";
    }
    double longest = 1.0;
    for (const std::string& context : values_of(table, "context")) {
        longest = std::max(longest, whole_number(context).value_or(0.0));
    }
    Chart bits{.title = "Bits a base by context",
               .x = {.label = "context, bases", .scale = ChartAxis::Scale::log2},
               .y = {.label = "bits a base"}};
    Chart difference{.title = "Difference from the first context, with two standard errors",
                     .x = bits.x,
                     .y = {.label = "difference, bits a base"}};
    ChartSeries all{"all bases", {}, ChartSeries::Mark::both};
    ChartSeries paired = all;
    bool whole = false;
    for (std::size_t row = 0; row < table.rows(); ++row) {
        if (table.text(row, "name") != "all") {
            continue;
        }
        const auto context = whole_number(table.text(row, "context"));
        whole = whole || !context;
        const double x = context.value_or(2.0 * longest);
        all.points.push_back({x, table.number(row, "bits")});
        const double change = table.number(row, "difference");
        const double error = table.number(row, "standard_error");
        // The first context is what the others are taken from.
        paired.points.push_back(
            {x, paired.points.empty() ? 0.0 : change, std::isfinite(error) ? 2.0 * error : 0.0});
    }
    bits.series.push_back(std::move(all));
    difference.series.push_back(std::move(paired));
    return concat("<h3>By context</h3>\n", draw(bits),
                  "<p>Difference from the first context on the same bases, with two standard "
                  "errors; below 0 is better.",
                  whole ? " The last point is the whole context." : "", "</p>\n", draw(difference));
}

}  // namespace

bool is_evaluation(const io::TableReader& table) {
    return table.has({"name", "bases", "bits", "perplexity", "accuracy"});
}

std::string evaluation_section(const io::TableReader& table) {
    std::vector<std::string> columns = {"name"};
    for (const char* const column : {"context", "bases", "bits", "perplexity", "accuracy",
                                     "upper_bits", "lower_bits", "difference", "standard_error"}) {
        if (table.has(column)) {
            columns.emplace_back(column);
        }
    }
    return concat(heading("Prediction of the next base", table), position_chart(table),
                  context_charts(table), table_of(table, columns, all_rows(table)));
}

bool is_classification(const io::TableReader& table) {
    return table.has({"classifier", "label", "windows", "accuracy", "calibration_error"});
}

std::string classification_section(const io::TableReader& table) {
    std::vector<std::string> plain;
    HeatMap map{
        .title = "", .row_label = "label", .column_label = "called", .names = {}, .counts = {}};
    for (const std::string& column : table.columns()) {
        if (column.starts_with(kCalled)) {
            map.names.push_back(column.substr(kCalled.size()));
        } else {
            plain.push_back(column);
        }
    }
    std::string out = heading("Classification", table) + table_of(table, plain, all_rows(table));
    for (const std::string& classifier : values_of(table, "classifier")) {
        map.counts.assign(map.names.size(), std::vector<double>(map.names.size()));
        bool found = false;
        for (std::size_t row = 0; row < table.rows(); ++row) {
            const auto label =
                std::find(map.names.begin(), map.names.end(), table.text(row, "label"));
            if (table.text(row, "classifier") != classifier || label == map.names.end()) {
                continue;
            }
            std::vector<double>& counts =
                map.counts[static_cast<std::size_t>(label - map.names.begin())];
            for (std::size_t column = 0; column < map.names.size(); ++column) {
                const double count = table.number(row, concat(kCalled, map.names[column]));
                found = found || std::isfinite(count);
                counts[column] = std::isfinite(count) ? count : 0.0;
            }
        }
        if (found) {
            map.title = concat("Confusion matrix of ", classifier);
            out += concat("<h3>Confusion matrix: ", escape_html(classifier),
                          "</h3>\n<p class=\"soft\">Percent of each label's windows.</p>\n",
                          draw(map));
        }
    }
    return out;
}

std::string table_section(const io::TableReader& table) {
    return heading("Table", table) + table_of(table, table.columns(), all_rows(table));
}

}  // namespace mambase::pipelines
