#include "pipelines/embedding_files.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <filesystem>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

std::string embedding_stem(const std::string& output) {
    return output.substr(0, output.rfind('.'));
}

RowsTable::RowsTable(const std::string& path, const EmbedOptions& options)
    : table_(path, {"contig", "start", "end", "strand", "first_row", "rows"}),
      strand_(options.strand == StrandChoice::forward   ? "+"
              : options.strand == StrandChoice::reverse ? "-"
                                                        : "."),
      pool_(options.pool) {}

void RowsTable::add(const RowSpan& span) {
    table_.row(span.name, span.bases.begin, span.bases.end, strand_, span.first_row,
               span.rows(pool_));
}

void write_description(const std::string& path,
                       const EmbedOptions& options,
                       const EmbedReport& report,
                       const std::string& model_hash,
                       const io::Tokenizer& tokenizer,
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
    if (!options.reading.circular.empty()) {
        json["circular"] = options.reading.circular;
    }
    json["tokenizer"] = {{"name", tokenizer.name()}, {"hash", tokenizer.hash()}};
    json["version"] = runtime.version;
    if (!runtime.no_pg) {
        json["command"] = runtime.command_line;
    }
    constexpr auto replace = ordered_json::error_handler_t::replace;  // of bytes not UTF-8
    write_text(path, json.dump(2, ' ', false, replace) + "\n");
}

}  // namespace mambase::pipelines
