// generate: sequence sampled from a model, base by base, many sequences side by side.
#pragma once

#include "pipelines/next_base.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>

namespace mambase::pipelines {

struct GenerateOptions {
    std::string model;           // directory
    std::string tokenizer;       // for a model that does not name its own
    std::int64_t count = 1;      // sequences, of each prompt
    std::int64_t length = 1000;  // bases drawn for a sequence; the prompt is not counted
    std::string prompt;          // bases that every sequence goes on from; may be empty
    std::string prompt_file;     // any file of sequence: each record is a prompt
    Sampling sampling;
    std::uint64_t seed = 0;
    std::string output = "-";  // FASTA; "-" is standard output; .gz and .bgz are bgzip
    bool dry_run = false;      // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct GenerateReport {
    std::int64_t sequences = 0;
    std::int64_t bases = 0;
    double seconds = 0.0;  // drawing, with the reading of prompts
    std::string plan;      // dry_run: what would be written, memory and time, several lines
};

/// Writes FASTA in lines of 60: A, C, G, T that follow the prompt, which is not written again.
/// Names are "sequence_1", "sequence_2", …; of a prompt file each record's name with "_1", "_2", …
/// Without a prompt (or after one without bases, with a warning) the first base is uniform.
///
/// The draws of a sequence follow from the seed and its name: it is the same whatever is generated
/// beside it and however many, in whichever order, and on however many threads. Prompts are read
/// with all of their bases, the state carried; IUPAC codes read as N.
///
/// Memory: states of the sequences that run side by side, and their bases, up to 256 MB or one
/// sequence. Errors as of the readers and Model::load; Error{format} for prompts of one name;
/// Error{cancelled} on a stop.
GenerateReport generate(const GenerateOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
