// Charts as inline SVG for a page of html.hpp, whose style gives the colours.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct ChartPoint {
    double x = 0.0;
    double y = 0.0;
    double below = 0.0;  // how far a bar goes from y, both 0: none
    double above = 0.0;
};

struct ChartSeries {
    std::string name;
    std::vector<ChartPoint> points;
    enum class Mark : std::uint8_t { line, dots, both };
    Mark mark = Mark::line;
};

struct ChartAxis {
    std::string label;
    enum class Scale : std::uint8_t { linear, log2 };
    Scale scale = Scale::linear;
    std::optional<double> low{};  // default: what the points span
    std::optional<double> high{};
};

struct Chart {
    std::string title;  // for those who do not see it
    ChartAxis x;
    ChartAxis y;
    std::vector<ChartSeries> series{};  // in the colours s0, s1, …
    bool diagonal = false;              // where y = x
    bool square = false;
    bool cloud = false;  // small dots that shine through
};

/// A figure with its legend. Points that are not finite, and on a log axis those not above 0, are
/// left out; what lies beyond an axis is cut off. A sentence where no point is left.
std::string draw(const Chart& chart);

/// Counts by row and column, each cell shaded by its share of the row.
struct HeatMap {
    std::string title;
    std::string row_label;
    std::string column_label;
    std::vector<std::string> names;           // of rows and of columns
    std::vector<std::vector<double>> counts;  // [row][column]
};
std::string draw(const HeatMap& map);

}  // namespace mambase::pipelines
