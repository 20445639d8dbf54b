// Tables as text, read back: a header line, then rows of fields parted by tabs.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

/// A whole table in memory. What is wrong with it throws Error{format} with file and line.
class TableReader {
  public:
    /// Error{not_found, io} as of read_text; Error{format}: no header, a column named twice, a row
    /// with more or fewer fields.
    explicit TableReader(const std::string& path);

    const std::string& path() const { return path_; }
    const std::vector<std::string>& columns() const { return columns_; }
    bool has(std::string_view column) const { return find(column) < columns_.size(); }
    bool has(std::initializer_list<std::string_view> columns) const;
    std::size_t rows() const { return rows_.size(); }

    /// The fields of a row, in the order of the columns.
    const std::vector<std::string>& row(std::size_t row) const { return rows_[row]; }
    /// Error{format} where there is no such column.
    const std::string& text(std::size_t row, std::string_view column) const;
    /// NaN for "NA" and "."; Error{format} for what is no number.
    double number(std::size_t row, std::string_view column) const;

  private:
    std::size_t find(std::string_view column) const;

    std::string path_;
    std::vector<std::string> columns_;
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace mambase::io
