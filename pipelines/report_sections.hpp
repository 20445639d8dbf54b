// The sections of a report, each HTML from its heading on. Private to report.cpp.
#pragma once

#include "genomics_io/table_reader.hpp"

#include <string>

namespace mambase::pipelines {

/// Of a directory with metrics.jsonl, run.json or both.
std::string training_section(const std::string& directory);

/// Of a table with names and bits (evaluate).
bool is_evaluation(const io::TableReader& table);
std::string evaluation_section(const io::TableReader& table);

/// Of a table of classifiers by label with their calls (classify evaluate).
bool is_classification(const io::TableReader& table);
std::string classification_section(const io::TableReader& table);

/// Of a table of calls by their probability (classify evaluate --reliability).
bool is_reliability(const io::TableReader& table);
std::string reliability_section(const io::TableReader& table);

/// Any other table, as it is.
std::string table_section(const io::TableReader& table);

/// Of an array of embed; the table of rows beside it tells the contigs, where it is there.
std::string embedding_section(const std::string& array);

}  // namespace mambase::pipelines
