#include "genomics_io/table_sink.hpp"

#include <algorithm>

namespace mambase::io {

TableSink::TableSink(const std::string& path, const std::vector<std::string_view>& columns)
    : out_(path), columns_(columns.size()) {
    for (const std::string_view column : columns) {
        field(column);
    }
    end_line();
}

void require_plain_field(std::string_view text, const std::string& path) {
    const auto parts = [](char letter) {
        return letter == '\t' || letter == '\r' || letter == '\n';
    };
    if (std::any_of(text.begin(), text.end(), parts)) {
        throw Error(ErrorCode::usage,
                    concat("a field of a table holds a tab or a line break: '", text, "'"))
            .at(path);
    }
}

void TableSink::end_line() {
    line_.back() = '\n';
    out_.write(line_);
    line_.clear();
}

void TableSink::row_of(const std::vector<std::string>& fields) {
    MAMBASE_ASSERT(fields.size() == columns_);
    line_.clear();
    for (const std::string& text : fields) {
        field(text);
    }
    end_line();
}

void TableSink::finish() {
    out_.commit();
}

}  // namespace mambase::io
