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
constexpr double kFewestWindows = 10.0;  // of a bin that is drawn: of fewer an interval says little
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

std::string position_chart(const io::TableReader& table) {
    Chart chart{.title = "Bits a base by the distance from where the state was reset",
                .x = {.label = "bases from the reset", .scale = ChartAxis::Scale::log2},
                .y = {.label = "bits a base"}};
    for (const auto& [name, column] :
         {std::pair{"all", "bits"}, std::pair{"upper case", "upper_bits"},
          std::pair{"lower case", "lower_bits"}}) {
        ChartSeries series{name, {}, ChartSeries::Mark::both};
        for (std::size_t row = 0; row < table.rows() && table.has(column); ++row) {
            if (const auto position = position_of(table.text(row, "name"))) {
                series.points.push_back({*position, table.number(row, column)});
            }
        }
        if (!series.points.empty()) {
            chart.series.push_back(std::move(series));
        }
    }
    return chart.series.empty() ? "" : concat("<h3>By position</h3>\n", draw(chart));
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
        const double error = 2.0 * table.number(row, "standard_error");
        const double bar = std::isfinite(error) ? error : 0.0;
        // The first context is what the others are taken from.
        paired.points.push_back({x, paired.points.empty() ? 0.0 : change, bar, bar});
    }
    bits.series.push_back(std::move(all));
    difference.series.push_back(std::move(paired));
    return concat("<h3>By context</h3>\n", draw(bits),
                  "<p>Difference from the first context on the same bases, with two standard "
                  "errors; below 0 is better.",
                  whole ? " The last point is the whole context." : "", "</p>\n", draw(difference));
}

/// Each value with its interval; nothing where the table has ".".
std::string classifier_table(const io::TableReader& table) {
    HtmlTable out{{"classifier", "label", "windows", "accuracy", "95 % interval", "nats",
                   "calibration error", "95 % interval"},
                  {}};
    for (std::size_t row = 0; row < table.rows(); ++row) {
        const auto plain = [&](std::string_view column) {
            const std::string& text = table.text(row, column);
            return text == "." ? std::string() : text;
        };
        const auto interval = [&](const std::string& of) {
            const std::string low = plain(of + "_low");
            return low.empty() ? low : concat(low, " to ", plain(of + "_high"));
        };
        out.rows.push_back({plain("classifier"), plain("label"), plain("windows"),
                            plain("accuracy"), interval("accuracy"), plain("nats"),
                            plain("calibration_error"), interval("calibration")});
    }
    return html_table(out);
}

/// Without counts where the table has none of this classifier.
HeatMap confusion_matrix(const io::TableReader& table,
                         const std::string& classifier,
                         const std::vector<std::string>& names) {
    HeatMap map{.title = concat("Confusion matrix of ", classifier),
                .row_label = "label",
                .column_label = "called",
                .names = names,
                .counts = {}};
    for (std::size_t row = 0; row < table.rows(); ++row) {
        const auto label = std::find(names.begin(), names.end(), table.text(row, "label"));
        if (table.text(row, "classifier") != classifier || label == names.end()) {
            continue;
        }
        map.counts.resize(names.size(), std::vector<double>(names.size()));
        std::vector<double>& counts = map.counts[static_cast<std::size_t>(label - names.begin())];
        for (std::size_t column = 0; column < names.size(); ++column) {
            counts[column] = table.number(row, concat(kCalled, names[column]));
        }
    }
    return map;
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
    std::vector<std::size_t> rows = all_rows(table);
    std::erase_if(rows, [&](std::size_t row) { return table.text(row, "bases") == "0"; });
    return concat(heading("Prediction of the next base", table), position_chart(table),
                  context_charts(table), table_of(table, columns, rows));
}

bool is_classification(const io::TableReader& table) {
    return table.has({"classifier", "label", "windows", "accuracy", "calibration_error"});
}

std::string classification_section(const io::TableReader& table) {
    std::vector<std::string> names;
    for (const std::string& column : table.columns()) {
        if (column.starts_with(kCalled)) {
            names.push_back(column.substr(kCalled.size()));
        }
    }
    std::string out = heading("Classification", table) + classifier_table(table);
    for (const std::string& classifier : values_of(table, "classifier")) {
        const HeatMap map = confusion_matrix(table, classifier, names);
        if (!map.counts.empty()) {
            out += concat("<h3>Confusion matrix: ", escape_html(classifier),
                          "</h3>\n<p class=\"soft\">Percent of each label's windows.</p>\n",
                          draw(map));
        }
    }
    return out;
}

bool is_reliability(const io::TableReader& table) {
    return table.has(
        {"classifier", "windows", "probability", "observed", "observed_low", "observed_high"});
}

std::string reliability_section(const io::TableReader& table) {
    // A margin, so that dots at 0 and 1 are whole.
    Chart chart{.title = "Share of right calls by their probability",
                .x = {.label = "mean probability of the calls", .low = -0.03, .high = 1.03},
                .y = {.label = "share of right calls", .low = -0.03, .high = 1.03},
                .diagonal = true,
                .square = true};
    std::vector<std::size_t> rows = all_rows(table);
    std::erase_if(rows, [&](std::size_t row) { return table.text(row, "windows") == "0"; });
    for (const std::string& classifier : values_of(table, "classifier")) {
        ChartSeries series{classifier, {}, ChartSeries::Mark::both};
        for (const std::size_t row : rows) {
            if (table.text(row, "classifier") == classifier &&
                table.number(row, "windows") >= kFewestWindows) {
                const double observed = table.number(row, "observed");
                series.points.push_back({table.number(row, "probability"), observed,
                                         observed - table.number(row, "observed_low"),
                                         table.number(row, "observed_high") - observed});
            }
        }
        chart.series.push_back(std::move(series));
    }
    return concat(heading("Reliability", table),
                  "<p>The share of right calls, with 95 % intervals, by the probability that they "
                  "were given; bins of fewer than ten windows are in the table alone. On the "
                  "broken line probabilities are what they say; below it they promise too "
                  "much.</p>\n",
                  draw(chart), table_of(table, table.columns(), rows));
}

std::string table_section(const io::TableReader& table) {
    return heading("Table", table) + table_of(table, table.columns(), all_rows(table));
}

}  // namespace mambase::pipelines
