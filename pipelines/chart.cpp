#include "pipelines/chart.hpp"

#include "base/text.hpp"
#include "pipelines/html.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

namespace mambase::pipelines {

namespace {

constexpr double kLeft = 76.0;
constexpr double kRight = 16.0;
constexpr double kTop = 12.0;
constexpr double kBottom = 46.0;

std::string pixels(double value) {
    return format_fixed(value, 1);
}

std::string svg_text(double x,
                     double y,
                     std::string_view text,
                     std::string_view anchor,
                     std::string_view more = "") {
    return concat("<text x=\"", pixels(x), "\" y=\"", pixels(y), "\" text-anchor=\"", anchor, "\"",
                  more, ">", escape_html(text), "</text>\n");
}

std::string svg_line(double x1, double y1, double x2, double y2, std::string_view of_class) {
    return concat("<line class=\"", of_class, "\" x1=\"", pixels(x1), "\" y1=\"", pixels(y1),
                  "\" x2=\"", pixels(x2), "\" y2=\"", pixels(y2), "\"/>\n");
}

std::string svg_begin(double width, double height, std::string_view title) {
    return concat("<svg viewBox=\"0 0 ", pixels(width), " ", pixels(height),
                  "\" style=\"max-width:", pixels(width), "px\" role=\"img\"><title>",
                  escape_html(title), "</title>\n");
}

/// "8,192", "1.5 M", "0.25": short, and exact enough for a tick.
std::string tick_text(double value, int digits) {
    const double size = std::abs(value);
    for (const auto& [unit, name] : {std::pair{1e9, " G"}, std::pair{1e6, " M"}}) {
        if (size >= unit) {
            std::string text = format_fixed(value / unit, 2);
            text.erase(text.find_last_not_of('0') + 1);
            text.erase(text.find_last_not_of('.') + 1);
            return text + name;
        }
    }
    return digits == 0 ? format_count(std::llround(value)) : format_fixed(value, digits);
}

/// An axis laid out: from values to the range from `begin` to `end` of pixels.
class Scale {
  public:
    struct Tick {
        double at;
        std::string text;
    };

    Scale(const ChartAxis& axis, double low, double high, double begin, double end)
        : log_(axis.scale == ChartAxis::Scale::log2), begin_(begin), end_(end) {
        low_ = to_linear(axis.low.value_or(low));
        high_ = to_linear(axis.high.value_or(high));
        const double margin = high_ > low_ ? 0.04 * (high_ - low_) : log_ ? 0.5 : 1.0;
        low_ -= axis.low ? 0.0 : margin;
        high_ += axis.high ? 0.0 : margin;
        if (high_ <= low_) {
            high_ = low_ + 1.0;
        }
    }

    double operator()(double value) const {
        return begin_ + (end_ - begin_) * (to_linear(value) - low_) / (high_ - low_);
    }

    std::vector<Tick> ticks(int most) const {
        std::vector<Tick> out;
        double step = 1.0;
        if (!log_ || high_ - low_ < 1.0) {
            step = std::pow(10.0, std::floor(std::log10((high_ - low_) / most)));
        }
        for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
            if ((high_ - low_) / (step * factor) <= most || factor == 10.0) {
                step *= factor;
                break;
            }
        }
        const int digits =
            log_ ? 0 : std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
        const auto first = static_cast<std::int64_t>(std::ceil(low_ / step - 1e-9));
        const auto last = static_cast<std::int64_t>(std::floor(high_ / step + 1e-9));
        for (std::int64_t i = first; i <= last; ++i) {
            const double linear = static_cast<double>(i) * step;
            const double value = log_ ? std::exp2(linear) : linear;
            out.push_back({value, tick_text(value, digits)});
        }
        return out;
    }

  private:
    double to_linear(double value) const { return log_ ? std::log2(value) : value; }

    bool log_;
    double begin_;
    double end_;
    double low_ = 0.0;
    double high_ = 1.0;
};

bool can_stand(const ChartAxis& axis, double value) {
    return std::isfinite(value) && (axis.scale == ChartAxis::Scale::linear || value > 0.0);
}

/// The points that can be drawn.
std::vector<ChartSeries> drawable(const Chart& chart) {
    std::vector<ChartSeries> out = chart.series;
    for (ChartSeries& series : out) {
        std::erase_if(series.points, [&](const ChartPoint& point) {
            return !can_stand(chart.x, point.x) || !can_stand(chart.y, point.y) ||
                   !std::isfinite(point.below) || !std::isfinite(point.above);
        });
    }
    return out;
}

struct Bounds {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();
    void take(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
};

std::string draw_series(const ChartSeries& series, const Scale& x, const Scale& y, double radius) {
    std::string out;
    if (series.mark != ChartSeries::Mark::dots && series.points.size() > 1) {
        out += "<polyline class=\"line\" points=\"";
        for (const ChartPoint& point : series.points) {
            out += concat(pixels(x(point.x)), ",", pixels(y(point.y)), " ");
        }
        out.back() = '"';
        out += "/>\n";
    }
    for (const ChartPoint& point : series.points) {
        if (point.below > 0.0 || point.above > 0.0) {
            out += svg_line(x(point.x), y(point.y - point.below), x(point.x),
                            y(point.y + point.above), "error");
        }
        if (series.mark != ChartSeries::Mark::line || series.points.size() == 1) {
            out += concat("<circle class=\"dot\" cx=\"", pixels(x(point.x)), "\" cy=\"",
                          pixels(y(point.y)), "\" r=\"", pixels(radius), "\"/>\n");
        }
    }
    return out;
}

std::string draw_axes(
    const Chart& chart, const Scale& x, const Scale& y, double width, double height) {
    const double bottom = height - kBottom;
    const double right = width - kRight;
    std::string out;
    for (const Scale::Tick& tick : y.ticks(6)) {
        out += svg_line(kLeft, y(tick.at), right, y(tick.at), "grid");
        out += svg_text(kLeft - 6.0, y(tick.at) + 4.0, tick.text, "end");
    }
    for (const Scale::Tick& tick : x.ticks(chart.square ? 6 : 9)) {
        out += svg_line(x(tick.at), bottom, x(tick.at), bottom + 4.0, "axis");
        out += svg_text(x(tick.at), bottom + 17.0, tick.text, "middle");
    }
    out += svg_line(kLeft, bottom, right, bottom, "axis");
    out += svg_text((kLeft + right) / 2.0, height - 8.0, chart.x.label, "middle");
    out += svg_text(
        0.0, 0.0, chart.y.label, "middle",
        concat(" transform=\"translate(14 ", pixels((kTop + bottom) / 2.0), ") rotate(-90)\""));
    return out;
}

/// A name that fits beside a chart, cut between characters.
std::string shortened(const std::string& name) {
    constexpr std::size_t most = 32;
    if (name.size() <= most) {
        return name;
    }
    std::size_t end = most - 1;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) {
        --end;
    }
    return name.substr(0, end) + "…";
}

}  // namespace

std::string draw(const Chart& chart) {
    const std::vector<ChartSeries> series = drawable(chart);
    Bounds across;
    Bounds along;
    for (const ChartSeries& one : series) {
        for (const ChartPoint& point : one.points) {
            across.take(point.x);
            along.take(point.y - point.below);
            along.take(point.y + point.above);
        }
    }
    if (across.high < across.low) {
        return "<p class=\"soft\">Nothing to draw.</p>\n";
    }
    const double width = chart.square ? 480.0 : 720.0;
    const double height = chart.square ? 480.0 : 340.0;
    const Scale x(chart.x, across.low, across.high, kLeft, width - kRight);
    const Scale y(chart.y, along.low, along.high, height - kBottom, kTop);

    std::vector<std::string> names;
    std::string marks;
    for (std::size_t i = 0; i < series.size(); ++i) {
        names.push_back(series[i].name);
        marks += concat("<g class=\"s", i % kPageColours, "\">\n",
                        draw_series(series[i], x, y, chart.cloud ? 2.2 : 3.2), "</g>\n");
    }
    // An <svg> within cuts off what lies beyond the axes.
    const double inner_width = width - kLeft - kRight;
    const double inner_height = height - kTop - kBottom;
    std::string out =
        concat("<figure>\n", html_legend(names), svg_begin(width, height, chart.title),
               draw_axes(chart, x, y, width, height));
    out += concat("<svg x=\"", pixels(kLeft), "\" y=\"", pixels(kTop), "\" width=\"",
                  pixels(inner_width), "\" height=\"", pixels(inner_height), "\" viewBox=\"",
                  pixels(kLeft), " ", pixels(kTop), " ", pixels(inner_width), " ",
                  pixels(inner_height), "\"", chart.cloud ? " class=\"cloud\"" : "", ">\n");
    if (chart.diagonal) {
        out += svg_line(x(0.0), y(0.0), x(1.0), y(1.0), "level");
    }
    return concat(out, marks, "</svg></svg>\n</figure>\n");
}

std::string draw(const HeatMap& map) {
    std::vector<std::string> names;
    std::size_t longest = 0;
    for (const std::string& name : map.names) {
        names.push_back(shortened(name));
        longest = std::max(longest, names.back().size());
    }
    const double label = std::max(60.0, 16.0 + 7.0 * static_cast<double>(longest));
    const auto n = static_cast<double>(map.names.size());
    const double cell = std::clamp(480.0 / std::max(n, 1.0), 14.0, 64.0);
    const bool with_text = cell >= 30.0;
    const double width = label + n * cell + 20.0;
    const double height = n * cell + label;
    std::string out = concat("<figure>\n", svg_begin(width, height, map.title));
    for (std::size_t row = 0; row < map.names.size(); ++row) {
        const double top = 24.0 + static_cast<double>(row) * cell;
        const std::vector<double>& counts = map.counts[row];
        const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
        out += svg_text(label - 8.0, top + cell / 2.0 + 4.0, names[row], "end");
        for (std::size_t column = 0; column < counts.size(); ++column) {
            const double left = label + static_cast<double>(column) * cell;
            const double share = total > 0.0 ? counts[column] / total : 0.0;
            out += concat("<g><title>", escape_html(map.names[row]), " → ",
                          escape_html(map.names[column]), ": ",
                          format_count(std::llround(counts[column])), " (",
                          format_fixed(100.0 * share, 1), " %)</title><rect class=\"cell\" x=\"",
                          pixels(left), "\" y=\"", pixels(top), "\" width=\"", pixels(cell - 1.0),
                          "\" height=\"", pixels(cell - 1.0), "\" fill-opacity=\"",
                          format_fixed(0.06 + 0.94 * share, 3), "\"/>\n");
            if (with_text) {
                out += svg_text(left + cell / 2.0, top + cell / 2.0 + 4.0,
                                format_fixed(100.0 * share, cell >= 48.0 ? 1 : 0), "middle",
                                share > 0.55 ? " class=\"over\"" : "");
            }
            out += "</g>\n";
        }
    }
    const double bottom = 24.0 + n * cell;
    for (std::size_t column = 0; column < map.names.size(); ++column) {
        const double middle = label + (static_cast<double>(column) + 0.5) * cell;
        out += svg_text(0.0, 0.0, names[column], "end",
                        concat(" transform=\"translate(", pixels(middle + 4.0), " ",
                               pixels(bottom + 8.0), ") rotate(-45)\""));
    }
    out += svg_text(label - 8.0, 14.0, map.row_label, "end");
    out += svg_text(label, 14.0, map.column_label, "start");
    return out + "</svg>\n</figure>\n";
}

}  // namespace mambase::pipelines
