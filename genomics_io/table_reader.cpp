#include "genomics_io/table_reader.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <system_error>

namespace mambase::io {

namespace {

std::vector<std::string> fields_of(std::string_view line) {
    std::vector<std::string> out;
    for (const std::string_view field : split(line, '\t')) {
        out.emplace_back(field);
    }
    return out;
}

}  // namespace

TableReader::TableReader(const std::string& path) : path_(path) {
    const std::string text = read_text(path);
    std::int64_t number = 0;
    for (std::string_view line : split(text, '\n')) {
        ++number;
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        if (columns_.empty()) {
            columns_ = fields_of(line);
            for (std::size_t i = 0; i < columns_.size(); ++i) {
                if (columns_[i].empty() || find(columns_[i]) != i) {
                    throw Error(ErrorCode::format,
                                concat("not a table: column ", i + 1, " of its first line ",
                                       columns_[i].empty() ? "has no name" : "was there before"))
                        .at(path);
                }
            }
        } else if (!line.empty()) {
            rows_.push_back(fields_of(line));
            if (rows_.back().size() != columns_.size()) {
                throw Error(ErrorCode::format, concat(rows_.back().size(), " fields in a table of ",
                                                      columns_.size(), " columns"))
                    .at(path)
                    .offset(number, "line");
            }
        }
    }
}

bool TableReader::has(std::initializer_list<std::string_view> columns) const {
    return std::all_of(columns.begin(), columns.end(),
                       [this](std::string_view column) { return has(column); });
}

const std::string& TableReader::text(std::size_t row, std::string_view column) const {
    const std::size_t at = find(column);
    if (at == columns_.size()) {
        throw Error(ErrorCode::format, concat("no column '", column, "'")).at(path_);
    }
    return rows_[row][at];
}

double TableReader::number(std::size_t row, std::string_view column) const {
    const std::string& field = text(row, column);
    if (field == "NA" || field == ".") {
        return std::numeric_limits<double>::quiet_NaN();
    }
    double value = 0.0;
    const char* const end = field.data() + field.size();
    const auto [stopped, failure] = std::from_chars(field.data(), end, value);
    if (failure != std::errc() || stopped != end) {
        throw Error(ErrorCode::format, concat("'", field, "' in column ", column, " is no number"))
            .at(path_)
            .record(static_cast<std::int64_t>(row), rows_[row].front());
    }
    return value;
}

std::size_t TableReader::find(std::string_view column) const {
    return static_cast<std::size_t>(std::find(columns_.begin(), columns_.end(), column) -
                                    columns_.begin());
}

}  // namespace mambase::io
