// model show, verify, convert, init: what can be done with a model directory without sequence.
#pragma once

#include "model/convert.hpp"
#include "model/verify.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>

namespace mambase::pipelines {

/// Sizes, parameters, origin and hash of a model directory, as lines or as one JSON object. Errors
/// as of model::Model::load.
std::string show_model(const std::string& dir, bool json);

/// model::verify on the run's device. `expected` may be empty.
model::VerifyReport verify_model(const std::string& dir,
                                 const std::string& expected,
                                 const Runtime& runtime);

struct ConvertOptions {
    std::string in;
    std::string out;             // a directory that holds no model yet
    std::string to = "mambase";  // a form that model::parse_directory_form knows
    std::string tokenizer;       // to mambase: for a model that does not name its own

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// Writes the model in `in` to `out` in another form. To mambase, a model without our key gets one:
/// the tokenizer that is named or that its vocabulary tells, and the context that such a model
/// counts as validated for (with a warning). Errors as of model::convert; Error{usage} where `out`
/// has a model.
void convert_model(const ConvertOptions& options, const Runtime& runtime);

struct InitOptions {
    std::string output;  // a directory that holds no model yet
    std::string preset = "tiny";
    std::uint64_t seed = 0;

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// Writes a model of fresh weights, a function of preset and seed alone, with the preset's training
/// context and tokenizer dna. Error{usage} where `output` has a model.
void init_model(const InitOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
