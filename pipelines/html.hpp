// Parts of a page that stands alone: no script, nothing fetched, readable in light and in dark.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mambase::pipelines {

/// The colours of a page: class "s0" … "s7" gives its element one as --c.
inline constexpr std::size_t kPageColours = 8;

/// Text as it may stand in an element or a quoted attribute. Control characters and bytes that are
/// no valid UTF-8 become U+FFFD.
std::string escape_html(std::string_view text);

struct HtmlTable {
    std::vector<std::string> columns;            // text, as the fields
    std::vector<std::vector<std::string>> rows;  // as many fields as columns
};
/// The first column is a heading of its row; fields that are numbers stand right.
std::string html_table(const HtmlTable& table);

/// Names with the colours s0, s1, …; nothing where there is only one.
std::string html_legend(const std::vector<std::string>& names);

/// A whole document. `title` and `footer` are text, `body` is HTML.
std::string html_page(std::string_view title, std::string_view body, std::string_view footer);

}  // namespace mambase::pipelines
