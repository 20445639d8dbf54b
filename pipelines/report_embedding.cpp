// The section of an array of embeddings: its principal components.
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/npy_array.hpp"
#include "pipelines/chart.hpp"
#include "pipelines/embedding_files.hpp"
#include "pipelines/html.hpp"
#include "pipelines/principal_components.hpp"
#include "pipelines/report_sections.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kMostRows = 2000;

/// Rows of an array, evenly spaced, without those in gaps, which are all zero.
struct Sample {
    std::vector<std::int64_t> rows;
    std::vector<float> values;  // [rows, dim]
};

Sample sample_of(const io::NpyArray& array) {
    Sample out;
    std::vector<float> row(static_cast<std::size_t>(array.dim()));
    const std::int64_t count = std::min(array.rows(), kMostRows);
    for (std::int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<std::int64_t>((static_cast<double>(i) + 0.5) *
                                                  static_cast<double>(array.rows()) /
                                                  static_cast<double>(count));
        array.read_row(at, row);
        if (std::any_of(row.begin(), row.end(), [](float value) { return value != 0.0F; })) {
            out.rows.push_back(at);
            out.values.insert(out.values.end(), row.begin(), row.end());
        }
    }
    return out;
}

/// The contig of each row, by the table beside the array; of none where there is no table.
class Contigs {
  public:
    explicit Contigs(const std::string& path) {
        if (!exists(path)) {
            return;
        }
        const io::TableReader table(path);
        for (std::size_t i = 0; i < table.rows(); ++i) {
            starts_.emplace_back(table.number(i, "first_row"), table.text(i, "contig"));
        }
        std::sort(starts_.begin(), starts_.end());
    }

    std::string at(std::int64_t row) const {
        const auto after =
            std::upper_bound(starts_.begin(), starts_.end(), static_cast<double>(row),
                             [](double value, const auto& start) { return value < start.first; });
        return after == starts_.begin() ? "rows" : std::prev(after)->second;
    }

  private:
    std::vector<std::pair<double, std::string>> starts_;
};

/// One series a contig, those with the most rows first; what has no colour left is "others".
std::vector<ChartSeries> series_of(const Sample& sample,
                                   const PrincipalComponents& components,
                                   const Contigs& contigs) {
    std::map<std::string, std::vector<ChartPoint>> by_contig;
    for (std::size_t i = 0; i < sample.rows.size(); ++i) {
        by_contig[contigs.at(sample.rows[i])].push_back(
            {components.places[i][0], components.places[i][1]});
    }
    std::vector<ChartSeries> out;
    for (auto& [name, points] : by_contig) {
        out.push_back({name, std::move(points), ChartSeries::Mark::dots});
    }
    std::stable_sort(out.begin(), out.end(), [](const ChartSeries& a, const ChartSeries& b) {
        return a.points.size() > b.points.size();
    });
    if (out.size() > kPageColours) {
        ChartSeries others{"others", {}, ChartSeries::Mark::dots};
        for (std::size_t i = kPageColours - 1; i < out.size(); ++i) {
            others.points.insert(others.points.end(), out[i].points.begin(), out[i].points.end());
        }
        out.resize(kPageColours - 1);
        out.push_back(std::move(others));
    }
    return out;
}

}  // namespace

std::string embedding_section(const std::string& array_path) {
    const io::NpyArray array(array_path);
    std::string out =
        concat("<h2>Embeddings</h2>\n<p class=\"soft\">", escape_html(array_path), ": ",
               format_count(array.rows()), " rows of ", format_count(array.dim()), "</p>\n");
    const Sample sample = sample_of(array);
    if (sample.rows.size() < 2) {
        return out + "<p>Too few rows for principal components.</p>\n";
    }
    const PrincipalComponents components = principal_components(sample.values, array.dim());
    const auto label = [&](const char* name, std::size_t k) {
        return concat(name, " component, ", format_fixed(100.0 * components.shares[k], 1),
                      " % of the variance");
    };
    Chart chart{.title = "Rows on their first two principal components",
                .x = {.label = label("first", 0)},
                .y = {.label = label("second", 1)},
                .square = true,
                .cloud = true};
    chart.series = series_of(sample, components, Contigs(embedding_stem(array_path) + ".rows.tsv"));
    return concat(out, "<p>", format_count(std::ssize(sample.rows)),
                  " rows, evenly spaced and none of a gap, on their first two principal "
                  "components.</p>\n",
                  draw(chart));
}

}  // namespace mambase::pipelines
