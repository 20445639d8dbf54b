// Between our directories, Hugging Face's and the original state-spaces names; and what `model
// show` tells.
#pragma once

#include "model/model.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mambase::model {

enum class DirectoryForm : std::uint8_t {
    mambase,       // Hugging Face's, with our key
    hf,            // MambaForCausalLM, our key dropped
    state_spaces,  // names and config.json of the original code, as safetensors
};

/// "mambase", "hf", "state-spaces"; throws Error{usage} on another word.
DirectoryForm parse_directory_form(std::string_view word);

/// Model::load, also of a directory in state-spaces form.
Model load_any_form(const std::string& dir, Allocator& allocator);

/// Reads `in` (any of the three forms, found from its config.json) and writes `out`. provenance:
/// what our key is to say where `in` has none (to mambase; without it the key stays out). Throws
/// Error{unsupported} for a pickle, with the way to convert it, and for a model that the original
/// code has no form for.
void convert(const std::string& in,
             const std::string& out,
             DirectoryForm to,
             const std::optional<Provenance>& provenance,
             Allocator& allocator);

/// `model show`: sizes, parameters by kind, origin, hash.
std::string summary_text(const Model& model);
std::string summary_json(const Model& model);

}  // namespace mambase::model
