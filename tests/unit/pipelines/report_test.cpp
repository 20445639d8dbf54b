#include "pipelines/report.hpp"

#include "base/file.hpp"
#include "genomics_io/npy_sink.hpp"
#include "pipelines/chart.hpp"
#include "pipelines/html.hpp"
#include "pipelines/principal_components.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::failure_of;

namespace {

/// What is wrong with a document's tags; nothing where each is closed in order.
std::string tag_trouble(const std::string& html) {
    std::vector<std::string> open;
    for (std::size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
        const std::size_t end = html.find('>', at);
        if (end == std::string::npos) {
            return "a tag without an end";
        }
        const std::string tag = html.substr(at + 1, end - at - 1);
        const std::string name = tag.substr(0, tag.find_first_of(" \n"));
        if (name == "!DOCTYPE" || name == "meta" || tag.ends_with('/')) {
            continue;
        }
        if (!name.starts_with('/')) {
            open.push_back(name);
        } else if (open.empty() || "/" + open.back() != name) {
            return concat(name, " closes ", open.empty() ? "nothing" : open.back());
        } else {
            open.pop_back();
        }
    }
    return open.empty() ? "" : concat(open.back(), " stays open");
}

std::int64_t count_of(const std::string& text, std::string_view part) {
    std::int64_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

/// The page of these inputs, which has to stand alone and be well formed.
std::string page_of(const test::PipelineLab& lab, const std::vector<std::string>& inputs) {
    ReportOptions options;
    options.inputs = inputs;
    options.output = lab.file("page.html");
    report(options, lab.runtime());
    std::string page = read_text(options.output);
    CHECK(page.starts_with("<!DOCTYPE html>"));
    CHECK(tag_trouble(page) == "");
    for (const char* const foreign : {"<script", "http", "@import", "url(", "src=", "href="}) {
        INFO(foreign);
        CHECK(page.find(foreign) == std::string::npos);
    }
    return page;
}

std::string run_directory(const test::PipelineLab& lab, std::string_view metrics) {
    const std::string run = lab.file("run");
    std::filesystem::create_directories(run);
    write_text(run + "/metrics.jsonl", metrics);
    return run;
}

}  // namespace

TEST_CASE("text on a page is escaped", "[report]") {
    CHECK(escape_html("a<b> & \"c\" 'd'") == "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
    CHECK(escape_html("caf\xC3\xA9 \xF0\x9F\xA7\xAC") == "caf\xC3\xA9 \xF0\x9F\xA7\xAC");
    for (const char* const bad : {"\xFF", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\x1B", "\x7F"}) {
        CHECK(escape_html(bad).starts_with("\xEF\xBF\xBD"));
    }
    CHECK(escape_html("\xE2\x82x") == "\xEF\xBF\xBD\xEF\xBF\xBDx");
    const std::string table = html_table({{"n<", "value"}, {{"a&b", "1.5"}, {"c", "NA"}}});
    CHECK(table.find("<th>n&lt;</th><th class=\"number\">value</th>") != std::string::npos);
    CHECK(table.find("<th>a&amp;b</th><td class=\"number\">1.5</td>") != std::string::npos);
    CHECK(html_legend({"alone"}).empty());
}

TEST_CASE("a chart draws what can be drawn", "[report]") {
    const double nan = std::nan("");
    Chart chart{
        .title = "t<", .x = {.label = "x&", .scale = ChartAxis::Scale::log2}, .y = {.label = "y"}};
    chart.series.push_back({"one", {{0.0, 1.0}, {1.0, nan}, {nan, 2.0}}, ChartSeries::Mark::both});
    CHECK(draw(chart).find("Nothing to draw") != std::string::npos);
    chart.series.push_back(
        {"two", {{1.0, 1.0}, {1024.0, 2.0, 0.5, 0.25}, {4.0, 1.5}}, ChartSeries::Mark::both});
    const std::string drawn = draw(chart);
    CHECK(tag_trouble(drawn) == "");
    CHECK(count_of(drawn, "<circle") == 3);
    CHECK(count_of(drawn, "<polyline") == 1);
    CHECK(count_of(drawn, "class=\"error\"") == 1);
    CHECK(drawn.find("t&lt;") != std::string::npos);
    CHECK(drawn.find("x&amp;") != std::string::npos);
    CHECK(drawn.find(">1,024<") != std::string::npos);
    CHECK(drawn.find("nan") == std::string::npos);
    // One point alone still has axes.
    chart.series = {{"one", {{5.0, 5.0}}, ChartSeries::Mark::line}};
    CHECK(count_of(draw(chart), "<circle") == 1);
    CHECK(draw(chart).find("nan") == std::string::npos);
    CHECK(draw(chart).find("inf") == std::string::npos);
}

TEST_CASE("components are those of the rows", "[report]") {
    // Along (3, 4, 0) / 5 with variance 25, along (0, 0, 1) with 4, and nothing else.
    std::vector<float> rows;
    for (const float a : {-5.0F, 5.0F}) {
        for (const float b : {-2.0F, 2.0F}) {
            rows.insert(rows.end(), {10.0F + 0.6F * a, 0.8F * a, b - 7.0F});
        }
    }
    const PrincipalComponents found = principal_components(rows, 3);
    CHECK(found.shares[0] == Approx(25.0 / 29.0));
    CHECK(found.shares[1] == Approx(4.0 / 29.0));
    REQUIRE(found.places.size() == 4);
    CHECK(found.places[0][0] == Approx(-5.0));
    CHECK(found.places[3][0] == Approx(5.0));
    CHECK(std::abs(found.places[1][1]) == Approx(2.0));
    CHECK(found.places[0][1] == Approx(-found.places[1][1]));

    const PrincipalComponents same = principal_components(std::vector<float>(12, 3.0F), 4);
    CHECK(same.shares[0] == 0.0);
    CHECK(same.places[2][1] == 0.0);
    const PrincipalComponents one = principal_components(std::vector<float>{1.0F, 3.0F}, 1);
    CHECK(one.shares[0] == Approx(1.0));
    CHECK(one.places[1][0] == Approx(1.0));
}

TEST_CASE("a run is shown with its loss and its record", "[report]") {
    const test::PipelineLab lab;
    std::string metrics;
    for (int step = 1; step <= 700; ++step) {
        const double loss = 1.2 + 1.0 / step;
        metrics += concat("{\"step\":", step, ",\"bases\":", step * 1000, ",\"loss\":", loss,
                          ",\"bits\":", loss / std::log(2.0), ",\"lr\":1,\"gradient_norm\":1}\n");
        if (step % 100 == 0) {
            metrics += concat("{\"step\":", step, ",\"valid_loss\":1.25,\"valid_bits\":1.8034,",
                              "\"valid_bases\":10}\n");
        }
    }
    const std::string run = run_directory(lab, metrics);
    write_text(run + "/run.json",
               R"({"version":"<1>","inputs":["a & b.fa"],"outcome":{"steps":700,"lr":0.004}})");
    const std::string page = page_of(lab, {run});
    CHECK(page.find("<title>run</title>") != std::string::npos);
    CHECK(page.find("bits a base") != std::string::npos);
    CHECK(page.find("Best validation: 1.8034 bits a base, after 100.0 kb.") != std::string::npos);
    CHECK(count_of(page, "<circle") == 7);
    CHECK(count_of(page, "<polyline") == 2);
    CHECK(page.find("&lt;1&gt;") != std::string::npos);
    CHECK(page.find("a &amp; b.fa") != std::string::npos);
    CHECK(page.find("0.0040") != std::string::npos);
    CHECK(page_of(lab, {run}) == page);

    // A line that is being written is left out; another that is none of ours is not.
    run_directory(lab, metrics + "{\"step\":701,\"ba");
    CHECK(page_of(lab, {run}) == page);
    run_directory(lab, "{\"step\":1,\"ba\n" + metrics);
    CHECK(failure_of([&] {
              page_of(lab, {run});
          }).find("metrics.jsonl: line 1: not a line of training metrics") != std::string::npos);
    run_directory(lab, "");
    CHECK(page_of(lab, {run}).find("No step is in metrics.jsonl") != std::string::npos);
    // A classifier's losses are of windows.
    run_directory(lab,
                  "{\"step\":1,\"bases\":10,\"loss\":1.1}\n"
                  "{\"step\":1,\"valid_loss\":1.0,\"valid_accuracy\":0.5}\n");
    const std::string classifier = page_of(lab, {run});
    CHECK(classifier.find("Best validation: 1.0000 nats a window") != std::string::npos);
    CHECK(classifier.find("accuracy, validation") != std::string::npos);
}

TEST_CASE("tables are told by their columns", "[report]") {
    const test::PipelineLab lab;
    const std::string path = lab.file("table.tsv");
    const std::string columns = "name\tbases\tbits\tperplexity\taccuracy\tupper_bits\tlower_bits";
    write_text(path, columns +
                         "\n1\t0\tNA\tNA\tNA\tNA\tNA\n2-3\t10\t1.9\t3.7\t0.3\t1.95\tNA\n"
                         "4-7\t20\t1.8\t3.5\t0.3\t1.9\t1.7\nall\t30\t1.83\t3.6\t0.3\t1.9\t1.7\n");
    const std::string by_position = page_of(lab, {path});
    CHECK(by_position.find("By position") != std::string::npos);
    CHECK(count_of(by_position, "<circle") == 2 + 2 + 1);
    CHECK(by_position.find("<th>2-3</th>") != std::string::npos);
    CHECK(by_position.find("<th>1</th>") == std::string::npos);

    // A contig may have a number for a name.
    write_text(path,
               columns + "\n5\t10\t1.9\t3.7\t0.3\t1.95\tNA\nall\t10\t1.9\t3.7\t0.3\t1.95\tNA\n");
    CHECK(page_of(lab, {path}).find("By position") == std::string::npos);

    write_text(path,
               "name\tcontext\tbases\tbits\tperplexity\taccuracy\tdifference\tstandard_error\n"
               "all\t256\t9\t1.9\t3\t0.3\tNA\tNA\nall\t1024\t9\t1.8\t3\t0.3\t-0.1\t0.01\n"
               "all\twhole\t9\t1.7\t3\t0.3\t-0.2\t0.02\n");
    const std::string contexts = page_of(lab, {path});
    CHECK(count_of(contexts, "<circle") == 6);
    CHECK(count_of(contexts, "class=\"error\"") == 2);
    CHECK(contexts.find("The last point is the whole context.") != std::string::npos);

    write_text(path,
               "classifier\tlabel\twindows\taccuracy\taccuracy_low\taccuracy_high\tnats\t"
               "calibration_error\tcalibration_low\tcalibration_high\tcalled:a<\tcalled:b\n"
               "model\ta<\t4\t0.75\t0.5\t1\t0.1\t0.02\t.\t.\t3\t1\n"
               "model\tb\t4\t1\t1\t1\t0.1\t0.02\t.\t.\t0\t4\n"
               "model\tall\t8\t0.875\t0.7\t1\t0.1\t0.02\t0.01\t0.03\t3\t5\n"
               "chance\tall\t8\t0.5\t.\t.\t.\t.\t.\t.\t.\t.\n");
    const std::string classes = page_of(lab, {path});
    CHECK(count_of(classes, "Confusion matrix: ") == 1);
    CHECK(classes.find("a&lt; \u2192 b: 1 (25.0 %)") != std::string::npos);
    CHECK(classes.find("0.01 to 0.03") != std::string::npos);

    write_text(
        path,
        "classifier\tbin_low\tbin_high\twindows\tprobability\tobserved\tobserved_low\t"
        "observed_high\nmodel\t0\t0.5\t0\t.\t.\t.\t.\nmodel\t0.5\t1\t18\t0.75\t0.5\t0.25\t1\n"
        "kmer-3\t0.5\t1\t18\t0.9\t1\t1\t1\nkmer-3\t0.4\t0.5\t9\t0.45\t0\t0\t0\n");
    const std::string reliability = page_of(lab, {path});
    CHECK(count_of(reliability, "<circle") == 2);
    CHECK(count_of(reliability, "class=\"error\"") == 1);
    CHECK(count_of(reliability, "class=\"level\"") == 1);
    CHECK(count_of(reliability, "<tr>") == 4);

    write_text(path, "x\ty\n1\t2\n");
    CHECK(page_of(lab, {path}).find("<th class=\"number\">1</th>") != std::string::npos);
    CHECK(failure_of([&] { page_of(lab, {lab.file("none.tsv")}); }).find("not_found") == 0);
    CHECK(failure_of([&] { page_of(lab, {lab.directory()}); }).find("not the directory of a run") !=
          std::string::npos);
    CHECK(failure_of([&] { page_of(lab, {}); }).find("usage: nothing to report on") == 0);
}

TEST_CASE("embeddings are coloured by contig", "[report]") {
    const test::PipelineLab lab;
    const std::string path = lab.file("e.npy");
    std::vector<float> rows;
    for (int i = 0; i < 30; ++i) {
        const float side = i < 10 ? 1.0F : -1.0F;
        const float small = 0.01F * static_cast<float>(i % 7);
        rows.insert(rows.end(), {side, small, i == 29 ? 0.0F : 2.0F});
    }
    std::fill_n(rows.begin() + 3, 3, 0.0F);  // in a gap
    io::NpySink sink(path, io::RowType::f16, 3);
    sink.write_rows(0, rows.data(), 30);
    sink.finish(30);
    const std::string alone = page_of(lab, {path});
    CHECK(count_of(alone, "<circle") == 29);
    CHECK(alone.find("class=\"legend\"><li") == std::string::npos);
    write_text(lab.file("e.rows.tsv"),
               "contig\tstart\tend\tstrand\tfirst_row\trows\nchr&1\t0\t10\t.\t0\t10\n"
               "chr2\t0\t20\t.\t10\t20\n");
    const std::string page = page_of(lab, {path});
    CHECK(page.find("<li class=\"s0\">chr2</li><li class=\"s1\">chr&amp;1</li>") !=
          std::string::npos);
    CHECK(page.find("30 rows of 3") != std::string::npos);
    write_text(lab.file("e.rows.tsv"), "contig\tfirst_row\nchr1\tx\n");
    CHECK(failure_of([&] { page_of(lab, {path}); }).find("e.rows.tsv") != std::string::npos);
}
