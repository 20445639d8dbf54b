#include "pipelines/embedding_files.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <filesystem>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

std::vector<std::string_view> rows_table_columns(bool of_shard) {
    std::vector<std::string_view> out = {"contig", "start", "end", "strand", "first_row", "rows"};
    if (of_shard) {
        out.insert(out.end(), {"input", "part"});
    }
    return out;
}

std::string embedding_stem(const std::string& output) {
    return output.substr(0, output.rfind('.'));
}

RowsTable::RowsTable(const std::string& path, const EmbedOptions& options)
    : table_(path, rows_table_columns(options.reading.shard.has_value())),
      strand_(options.strand == StrandChoice::forward   ? "+"
              : options.strand == StrandChoice::reverse ? "-"
                                                        : "."),
      pool_(options.pool),
      is_shard_(options.reading.shard) {}

void RowsTable::add(const RowSpan& span) {
    const std::int64_t rows = span.rows(pool_);
    if (is_shard_) {
        table_.row(span.name, span.bases.begin, span.bases.end, strand_, span.first_row, rows,
                   span.input, span.part);
    } else {
        table_.row(span.name, span.bases.begin, span.bases.end, strand_, span.first_row, rows);
    }
}

void write_json(const std::string& path, const nlohmann::ordered_json& json) {
    constexpr auto replace = nlohmann::ordered_json::error_handler_t::replace;  // not UTF-8
    write_text(path, json.dump(2, ' ', false, replace) + "\n");
}

void write_description(const std::string& path,
                       const EmbedOptions& options,
                       const EmbedReport& report,
                       const std::string& model_hash,
                       const io::Tokenizer& tokenizer,
                       const std::optional<ShardFacts>& shard,
                       const Runtime& runtime) {
    using nlohmann::ordered_json;
    const auto file_name = [](const std::string& full) {
        return std::filesystem::path(full).filename().string();
    };
    ordered_json json;
    json["format"] = "mambase embedding";
    json["format_version"] = 1;
    json["array"] = file_name(report.array);
    json["shape"] = {report.rows, report.dim};
    json["dtype"] = options.dtype == io::RowType::f16 ? "f16" : "f32";
    json["rows"] = file_name(report.rows_table);
    json["model"] = model_hash;
    json["layer"] =
        options.layer == model::kLastLayer ? ordered_json("last") : ordered_json(options.layer);
    json["strand"] = name(options.strand);
    json["pool"] = name(options.pool);
    json["context"] =
        report.context == kWholeContext ? ordered_json("whole") : ordered_json(report.context);
    json["gap"] = options.reading.gap;
    json["tokenizer"] = {{"name", tokenizer.name()}, {"hash", tokenizer.hash()}};
    if (shard) {
        json["shard"] = shard_json(*shard, runtime.precision);
    }
    json["version"] = runtime.version;
    if (!runtime.no_pg) {
        json["command"] = runtime.command_line;
    }
    write_json(path, json);
}

void finish_embedding(const EmbedReport& report,
                      const std::function<void()>& describe,
                      const std::function<void()>& finish_array) {
    try {
        describe();
        finish_array();
    } catch (...) {  // what lies beside it means nothing without the array
        std::error_code ignored;
        std::filesystem::remove(report.rows_table, ignored);
        std::filesystem::remove(report.description, ignored);
        throw;
    }
}

}  // namespace mambase::pipelines
