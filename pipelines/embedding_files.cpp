#include "pipelines/embedding_files.hpp"

#include <unistd.h>

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
      strand_(strand_sign(options.strand)),
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

std::string_view strand_sign(StrandChoice strand) {
    switch (strand) {
        case StrandChoice::forward:
            return "+";
        case StrandChoice::reverse:
            return "-";
        case StrandChoice::concat:
        case StrandChoice::mean:
            break;
    }
    return ".";
}

nlohmann::ordered_json describe_numbers(const EmbedOptions& options,
                                        const EmbedReport& report,
                                        const std::string& model_hash,
                                        const io::Tokenizer& tokenizer,
                                        const std::optional<ShardFacts>& shard,
                                        const Runtime& runtime) {
    using nlohmann::ordered_json;
    ordered_json json = ordered_json::object();
    json["format"] = "mambase embedding";
    json["format_version"] = 1;
    json["model"] = model_hash;
    json["layer"] =
        options.layer == model::kLastLayer ? ordered_json("last") : ordered_json(options.layer);
    json["strand"] = name(options.strand);
    json["pool"] = name(options.pool);
    add_origin(json, options.reading, report.context, tokenizer, shard, runtime);
    return json;
}

std::string array_description(const EmbedOptions& options,
                              const EmbedReport& report,
                              const std::string& model_hash,
                              const io::Tokenizer& tokenizer,
                              const std::optional<ShardFacts>& shard,
                              const Runtime& runtime) {
    const nlohmann::ordered_json numbers =
        describe_numbers(options, report, model_hash, tokenizer, shard, runtime);
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const auto& [key, value] : numbers.items()) {
        json[key] = value;
        if (key == "format_version") {
            json["array"] = file_name(report.array);
            json["shape"] = {report.rows, report.dim};
            json["dtype"] = options.dtype == io::RowType::f16 ? "f16" : "f32";
            json["rows"] = file_name(report.rows_table);
        }
    }
    return json_text(json);
}

void remove_beside(const EmbedReport& report) noexcept {
    ::unlink(report.rows_table.c_str());
    ::unlink(report.description.c_str());
}

}  // namespace mambase::pipelines
