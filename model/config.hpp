// What a model is: its sizes, and config.json, which carries them.
//
// config.json is Hugging Face's (MambaForCausalLM) plus one key of ours, "mambase". Ours is parsed
// strictly; in theirs unknown keys are kept and passed over. Names and defaults: spec Mamba 1.1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::model {

/// Context of a model that does not say how long it was validated for.
inline constexpr std::int64_t kDefaultContext = 8192;

struct ModelConfig {
    std::int64_t vocab_size = 16;  // V, at most 256: ids are bytes
    std::int64_t d_model = 64;     // D
    std::int64_t n_layer = 4;      // L
    std::int64_t d_inner = 128;    // E
    std::int64_t d_state = 16;     // N
    std::int64_t d_conv = 4;       // W, 2 to 4
    std::int64_t dt_rank = 4;      // R
    float norm_eps = 1e-5F;
    bool use_bias = false;       // in_proj.bias, out_proj.bias
    bool use_conv_bias = true;   // conv1d.bias
    bool tie_embeddings = true;  // the head is the embedding table
    // C of a classifier's head, at most 256; 0: none. In no JSON: the tensors say it.
    std::int64_t n_classes = 0;
    // Initialisation alone (spec Mamba 1.6).
    double dt_min = 1e-3;
    double dt_max = 1e-1;
    double dt_init_floor = 1e-4;
    double dt_scale = 1.0;
    bool dt_init_constant = false;  // every dt_proj.weight at its bound, not uniform within it

    /// d_inner = expand·d_model, dt_rank = ceil(d_model / 16), the rest as above.
    static ModelConfig of_width(std::int64_t d_model,
                                std::int64_t n_layer,
                                std::int64_t expand = 2);
    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
    friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// The "mambase" key: where the weights come from and what they may be used for.
struct Provenance {
    std::int64_t format_version = 1;
    std::string tokenizer;
    std::string tokenizer_hash;
    std::int64_t context = 0;   // validated length in bases; 0 is unbounded ("unbounded" in JSON)
    std::string training_data;  // digest
    std::int64_t steps = 0;
    std::uint64_t seed = 0;
    std::string tool_version;
    std::string licence;
    friend bool operator==(const Provenance&, const Provenance&) = default;
};

struct ConfigFile {
    ModelConfig model;
    std::optional<Provenance> mambase;
    std::string
        other;  // JSON object: Hugging Face's keys that `model` has no field for; may be empty
    bool says_tied = false;  // tie_word_embeddings is there (else the tensors decide)
};

/// Throws Error{format} with the file and the JSON path ("mambase.context"), Error{not_found}.
ConfigFile read_config(const std::string& path);
/// The same from text; `file` is for messages.
ConfigFile parse_config(std::string_view text, const std::string& file);
/// config.json as Hugging Face writes it (sorted, two spaces, newline at the end), with "mambase"
/// where it is set.
std::string config_json(const ConfigFile& config);

/// A model and how it is trained, as data/presets/*.json says. `pretrain` takes what the user does
/// not give from here.
struct Preset {
    std::string name;
    std::string summary;
    ModelConfig model;
    std::int64_t context = 1024;            // bases a window
    std::int64_t bases_per_step = 1 << 14;  // over all lanes
    double lr = 5e-3;                       // peak
    std::int64_t max_bases = 100'000'000;   // of a run: the smaller of this and 20 times the input
};

/// All presets, smallest first; they are part of the program.
const std::vector<Preset>& presets();
/// Throws Error{usage} that lists the names.
const Preset& find_preset(std::string_view name);
/// The model of a preset.
ModelConfig preset(std::string_view name);
/// One preset from JSON, in the form of data/presets; "model.dt_rank" may be given too. Strict: an
/// unknown or missing key or a wrong type is Error{format} with its path.
Preset parse_preset(std::string_view text, const std::string& file);

}  // namespace mambase::model
