// report: one page about a run, that stands alone.
#pragma once

#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct ReportOptions {
    /// Told by content, a section each, in this order:
    ///   a directory of pretrain or classify train   loss by bases read, and what the run was
    ///   a table of evaluate                         bits by position, by context, by contig
    ///   a table of classify evaluate                confusion matrix, calibration error
    ///   one of its --reliability                    reliability diagram
    ///   an array of embed (.npy)                    principal components, by contig
    std::vector<std::string> inputs;
    std::string output;  // HTML; "-" is standard output
    std::string title;   // empty: the name of the first input

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// Writes HTML with charts as inline SVG: no script, nothing that is fetched. The same bytes each
/// time, whatever the machine; the command line stands at its foot unless no_pg.
/// Error{not_found, io, format} with file and line for what cannot be read.
void report(const ReportOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
