#include "pipelines/report.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/npy_array.hpp"
#include "pipelines/html.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/report_sections.hpp"

#include <filesystem>

namespace mambase::pipelines {

namespace {

std::string section_of(const std::string& input) {
    if (!exists(input)) {
        throw Error(ErrorCode::not_found, "no such file or directory").at(input);
    }
    if (std::filesystem::is_directory(input)) {
        return training_section(input);
    }
    if (io::is_npy(input)) {
        return embedding_section(input);
    }
    const io::TableReader table(input);
    if (is_evaluation(table)) {
        return evaluation_section(table);
    }
    if (is_reliability(table)) {
        return reliability_section(table);
    }
    return is_classification(table) ? classification_section(table) : table_section(table);
}

/// "run" of "data/run/".
std::string last_name(const std::string& path) {
    const std::filesystem::path clean = std::filesystem::path(path).lexically_normal();
    return clean.has_filename() ? clean.filename().string()
                                : clean.parent_path().filename().string();
}

}  // namespace

void ReportOptions::validate() const {
    std::vector<std::string> violations;
    if (inputs.empty()) {
        violations.emplace_back("nothing to report on: name the directory of a run, or a result");
    }
    if (output.empty()) {
        violations.emplace_back("no output file");
    }
    throw_violations(violations);
}

void report(const ReportOptions& options, const Runtime& runtime) {
    options.validate();
    std::string body;
    for (const std::string& input : options.inputs) {
        body += section_of(input);
    }
    std::string footer = concat("mambase ", runtime.version);
    if (!runtime.no_pg) {
        footer += concat(" · ", runtime.command_line);
    }
    const std::string title =
        options.title.empty() ? last_name(options.inputs.front()) : options.title;
    OutputFile out(options.output);
    out.write(html_page(title, body, footer));
    out.commit();
}

}  // namespace mambase::pipelines
