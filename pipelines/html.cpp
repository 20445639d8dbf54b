#include "pipelines/html.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::pipelines {

namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6570; --paper: #fff; --grid: #e2e6ea;
  --rule: #9aa4ae; --accent: #1f5fa8;
  --c0: #1f5fa8; --c1: #c2571a; --c2: #1d7a4f; --c3: #8a4fa3; --c4: #9a6b00; --c5: #b3263e;
  --c6: #1f7f8c; --c7: #6b7480; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9ba6b1; --paper: #14181c; --grid: #2b3238; --rule: #5f6a74;
    --accent: #6fb1f2;
    --c0: #6fb1f2; --c1: #f0965c; --c2: #5fc793; --c3: #c79ae0; --c4: #d9b04a; --c5: #f27d90;
    --c6: #63c4d1; --c7: #9ba6b1; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .2rem; padding-top: .6rem; border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
p { margin: .3rem 0; max-width: 46rem; }
.soft, footer { color: var(--soft); font-size: .875rem; overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--grid); padding-top: .6rem; }
code { font-size: .875em; overflow-wrap: anywhere; }
figure { margin: .6rem 0 1rem; }
figure > svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--grid); }
svg .axis { stroke: var(--rule); }
svg .level { stroke: var(--soft); stroke-dasharray: 5 4; }
svg .line { fill: none; stroke: var(--c); stroke-width: 1.8; stroke-linejoin: round; }
svg .error { stroke: var(--c); stroke-width: 1.2; }
svg .dot { fill: var(--c); }
svg .cloud .dot { fill-opacity: .55; }
svg .cell { fill: var(--accent); }
svg .over { fill: var(--paper); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: .3rem 0; padding: 0;
  list-style: none; font-size: .875rem; }
.legend li::before { content: ""; display: inline-block; width: .8em; height: .8em;
  margin-right: .4em; border-radius: 2px; background: var(--c); vertical-align: -.05em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .875rem; }
th, td { padding: .15rem .7rem .15rem 0; text-align: left; border-bottom: 1px solid var(--grid);
  vertical-align: top; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.tables td { max-width: 24rem; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 400; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
)";

/// Bytes of the valid UTF-8 character that `text` begins with, 0 where there is none.
std::size_t character_size(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const unsigned first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    const std::size_t size = first < 0xC2   ? 0
                             : first < 0xE0 ? 2
                             : first < 0xF0 ? 3
                             : first < 0xF5 ? 4
                                            : 0;
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xC0U) != 0x80U) {
            return 0;
        }
    }
    const unsigned second = byte(1);
    const bool too_long = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool no_character = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
    return too_long || no_character ? 0 : size;
}

/// Or an interval, or nothing.
bool is_number(std::string_view field) {
    return field == "NA" || field.find_first_not_of("0123456789.,+-–%e") == std::string_view::npos;
}

}  // namespace

std::string escape_html(std::string_view text) {
    constexpr std::string_view replacement = "\xEF\xBF\xBD";
    std::string out;
    while (!text.empty()) {
        const std::size_t size = character_size(text);
        const char c = text.front();
        if (size == 0 || (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n') ||
            c == 0x7F) {
            out += replacement;
        } else if (c == '&') {
            out += "&amp;";
        } else if (c == '<') {
            out += "&lt;";
        } else if (c == '>') {
            out += "&gt;";
        } else if (c == '"') {
            out += "&quot;";
        } else if (c == '\'') {
            out += "&#39;";
        } else {
            out += text.substr(0, size);
        }
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
}

std::string html_table(const HtmlTable& table) {
    std::vector<bool> numbers(table.columns.size(), !table.rows.empty());
    for (const auto& row : table.rows) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            numbers[i] = numbers[i] && is_number(row[i]);
        }
    }
    const auto cell = [&](std::string_view element, std::size_t column, const std::string& text) {
        return concat('<', element, numbers[column] ? " class=\"number\">" : ">", escape_html(text),
                      "</", element, '>');
    };
    std::string out = "<div class=\"scroll\"><table><thead><tr>";
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        out += cell("th", i, table.columns[i]);
    }
    out += "</tr></thead><tbody>\n";
    for (const auto& row : table.rows) {
        out += "<tr>";
        for (std::size_t i = 0; i < row.size(); ++i) {
            out += cell(i == 0 ? "th" : "td", i, row[i]);
        }
        out += "</tr>\n";
    }
    return out + "</tbody></table></div>\n";
}

std::string html_legend(const std::vector<std::string>& names) {
    if (names.size() < 2) {
        return "";
    }
    std::string out = "<ul class=\"legend\">";
    for (std::size_t i = 0; i < names.size(); ++i) {
        out += concat("<li class=\"s", i % kPageColours, "\">", escape_html(names[i]), "</li>");
    }
    return out + "</ul>\n";
}

std::string html_page(std::string_view title, std::string_view body, std::string_view footer) {
    std::string colours;
    for (std::size_t i = 0; i < kPageColours; ++i) {
        colours += concat(".s", i, " { --c: var(--c", i, "); }\n");
    }
    const std::string name = escape_html(title);
    return concat(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
        name, "</title>\n<style>", kStyle, colours, "</style>\n</head>\n<body>\n<h1>", name,
        "</h1>\n", body, "<footer>", escape_html(footer), "</footer>\n</body>\n</html>\n");
}

}  // namespace mambase::pipelines
