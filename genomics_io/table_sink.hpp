// Tables as text: a header line, then rows of fields parted by tabs.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <string>
#include <string_view>
#include <type_traits>
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
        (field(fields), ...);
        end_line();
    }

    /// The same of fields that are text already.
    void row_of(const std::vector<std::string>& fields);

    void finish();

  private:
    template <class Field>
    void field(const Field& value) {
        const std::size_t at = line_.size();
        append_part(line_, value);
        if constexpr (!std::is_arithmetic_v<Field> || std::is_same_v<Field, char>) {
            require_plain_field(std::string_view(line_).substr(at), out_.path());
        }
        line_.push_back('\t');
    }
    void end_line();

    OutputFile out_;
    std::size_t columns_;
    std::string line_;
};

}  // namespace mambase::io
