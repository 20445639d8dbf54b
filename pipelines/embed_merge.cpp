#include "pipelines/embed_merge.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/npy_sink.hpp"
#include "genomics_io/table_sink.hpp"
#include "pipelines/embedding_files.hpp"
#include "pipelines/shard_files.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

Json read_description(const std::string& array) {
    const std::string path = embedding_stem(array) + ".json";
    try {
        return Json::parse(read_text(path));
    } catch (const Json::exception&) {
        throw Error(ErrorCode::format, "is not the description of an array").at(path);
    }
}

/// What a description says of an array's form.
struct Form {
    io::RowType type = io::RowType::f16;
    std::int64_t rows = 0;
    std::int64_t dim = 0;
};

Form form_of(const Json& description, const std::string& array) {
    try {
        const Json& shape = description.at("shape");
        const Form form{description.at("dtype") == "f32" ? io::RowType::f32 : io::RowType::f16,
                        shape.at(0).get<std::int64_t>(), shape.at(1).get<std::int64_t>()};
        if (form.rows >= 0 && form.dim >= 1) {
            return form;
        }
    } catch (const Json::exception&) {
    }
    throw Error(ErrorCode::format, "does not tell the array's shape")
        .at(embedding_stem(array) + ".json");
}

/// A line of a rows table.
struct Line {
    std::string_view name;
    std::int64_t start = 0;
    std::int64_t end = 0;
    std::string_view strand;
    std::int64_t rows = 0;
    PartKey key;
};

/// Goes through one shard, line by line.
class ShardRows {
  public:
    ShardRows(const std::string& array, const Form& form)
        : array_(array), table_(embedding_stem(array) + ".rows.tsv"), form_(form) {
        const std::string head = io::NpySink::header(form.type, form.dim, form.rows);
        const std::span<const std::byte> bytes = array_.bytes();
        const auto expected =
            static_cast<std::size_t>(io::NpySink::file_bytes(form.type, form.dim, form.rows));
        if (bytes.size() != expected ||
            !std::equal(head.begin(), head.end(), reinterpret_cast<const char*>(bytes.data()))) {
            throw Error(ErrorCode::format, "is not the array that its description tells of")
                .at(array);
        }
        left_ = bytes.subspan(head.size());
        if (!table_.next(fields_) || fields_.size() != 8 || fields_[7] != "part") {
            table_.fail("is not the rows table of a shard");
        }
        advance();
    }

    const std::optional<Line>& line() const { return line_; }
    /// The rows of line(), and on to the next one.
    std::span<const std::byte> take() {
        const auto size = static_cast<std::size_t>(line_->rows * row_bytes());
        const std::span<const std::byte> rows = left_.first(size);
        left_ = left_.subspan(size);
        advance();
        return rows;
    }

  private:
    std::int64_t row_bytes() const { return form_.dim * (form_.type == io::RowType::f16 ? 2 : 4); }
    void advance() {
        line_.reset();
        if (!table_.next(fields_)) {
            if (!left_.empty()) {
                table_.fail("has not all rows of the array");
            }
            return;
        }
        if (fields_.size() != 8) {
            table_.fail("eight fields are expected");
        }
        line_ = Line{fields_[0],
                     table_.integer(fields_[1]),
                     table_.integer(fields_[2]),
                     fields_[3],
                     table_.integer(fields_[5]),
                     {table_.integer(fields_[6]), table_.integer(fields_[7])}};
        if (line_->rows < 0 || line_->rows > std::ssize(left_) / row_bytes()) {
            table_.fail("has more rows than the array");
        }
    }

    MappedFile array_;
    TabbedFile table_;
    Form form_;
    std::span<const std::byte> left_;  // rows that are not taken
    std::vector<std::string_view> fields_;
    std::optional<Line> line_;
};

/// The rows table without shards: a span in two of them is one line.
class JoinedTable {
  public:
    explicit JoinedTable(const std::string& path)
        : table_(path, rows_table_columns(false)), path_(path) {}

    void add(const Line& line) {
        if (latest_ && latest_->key == line.key) {
            MAMBASE_REQUIRE(latest_->end == line.start, ErrorCode::format,
                            concat("shards do not meet in ", line.name, ": one ends at ",
                                   latest_->end, ", the next begins at ", line.start));
            latest_->end = line.end;
            latest_->rows += line.rows;
            return;
        }
        write();
        latest_ = line;
    }
    void finish() {
        write();
        table_.finish();
    }
    std::int64_t lines() const { return lines_; }

  private:
    void write() {
        if (latest_) {
            table_.row(latest_->name, latest_->start, latest_->end, latest_->strand, first_row_,
                       latest_->rows);
            first_row_ += latest_->rows;
            ++lines_;
        }
    }

    io::TableSink table_;
    std::string path_;
    std::optional<Line> latest_;
    std::int64_t first_row_ = 0;
    std::int64_t lines_ = 0;
};

void write(OutputFile& out, std::span<const std::byte> bytes, const Runtime& runtime) {
    constexpr std::size_t most = std::size_t{1} << 26;  // between looks at the stop
    while (!bytes.empty()) {
        runtime.throw_if_stopped();
        const std::size_t size = std::min(most, bytes.size());
        out.write(bytes.first(size));
        bytes = bytes.subspan(size);
    }
}

Json joined_description(Json description, const EmbedReport& report, const Runtime& runtime) {
    description = merged_description(std::move(description), runtime);
    description["array"] = file_name(report.array);
    description["shape"] = {report.rows, report.dim};
    description["rows"] = file_name(report.rows_table);
    return description;
}

}  // namespace

EmbedReport merge_embeddings(const std::vector<std::string>& arrays,
                             const std::string& output,
                             const Runtime& runtime) {
    std::vector<Json> descriptions;
    std::vector<Form> forms;
    for (const std::string& array : arrays) {
        descriptions.push_back(read_description(array));
        forms.push_back(form_of(descriptions.back(), array));
    }
    EmbedReport report;
    report.dim = forms.front().dim;
    std::vector<std::unique_ptr<ShardRows>> shards;
    std::vector<std::optional<PartKey>> keys;
    const auto key_of = [](const ShardRows& shard) {
        return shard.line() ? std::optional(shard.line()->key) : std::nullopt;
    };
    for (const std::size_t i :
         shards_in_order(descriptions, arrays, {"array", "shape", "rows", "command"})) {
        if (forms[i].dim != report.dim) {
            throw Error(ErrorCode::usage, concat("has ", forms[i].dim, " numbers a row, ",
                                                 arrays.front(), " has ", report.dim))
                .at(arrays[i]);
        }
        report.rows = checked_add(report.rows, forms[i].rows);
        shards.push_back(std::make_unique<ShardRows>(arrays[i], forms[i]));
        keys.push_back(key_of(*shards.back()));
    }
    const io::RowType type = forms.front().type;
    report.bytes = io::NpySink::file_bytes(type, report.dim, report.rows);
    report.array = output;
    report.rows_table = embedding_stem(output) + ".rows.tsv";
    report.description = embedding_stem(output) + ".json";
    OutputFile array(output);
    JoinedTable table(report.rows_table);
    array.write(io::NpySink::header(type, report.dim, report.rows));
    while (const std::optional<std::size_t> next = first_of(keys)) {
        table.add(*shards[*next]->line());
        write(array, shards[*next]->take(), runtime);
        keys[*next] = key_of(*shards[*next]);
    }
    table.finish();
    report.records = table.lines();
    finish_embedding(
        report,
        [&] {
            write_json(report.description,
                       joined_description(descriptions.front(), report, runtime));
        },
        [&] { array.commit(); });
    return report;
}

}  // namespace mambase::pipelines
