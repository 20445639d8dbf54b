// Tables as text: a header line, then rows of fields parted by tabs.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

/// Error{usage} for text that holds a tab or a line break; `path`: of the table.
void require_plain_field(std::string_view text, const std::string& path);

/// Appears under its name at finish(), whole ("-": standard output, as it comes).
class TableSink {
  public:
    /// The column names make the first line.
    TableSink(const std::string& path, const std::vector<std::string_view>& columns);

    /// One row, as many fields as columns: integers, text, and doubles in the shortest form that
    /// reads back the same (round with format_fixed for fewer digits). Error{usage} for text that
    /// holds a tab or a line break.
    template <class... Fields>
    void row(const Fields&... fields) {
        MAMBASE_ASSERT(sizeof...(fields) == columns_);
        line_.clear();
        (field(concat(fields)), ...);
        end_line();
    }

    /// The same of fields that are text already.
    void row_of(const std::vector<std::string>& fields);

    void finish();

  private:
    void field(std::string_view text);
    void end_line();

    OutputFile out_;
    std::size_t columns_;
    std::string line_;
};

}  // namespace mambase::io
