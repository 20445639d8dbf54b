// A Mamba-1 language model: configuration, weights and their origin.
#pragma once

#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "model/config.hpp"
#include "model/param_table.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mambase::model {

class Model {
  public:
    /// From a directory with config.json and model.safetensors (ours or Hugging Face's). Biases, an
    /// untied head and a classifier's are taken where the tensors are there. Throws
    /// Error{not_found, format}, one line that names the file and the tensor or JSON path: missing,
    /// unexpected or misshapen tensors, values that are not finite.
    static Model load(const std::string& dir, Allocator& allocator);
    /// The same with a config that the caller has read.
    static Model load(const std::string& dir, ConfigFile config, Allocator& allocator);
    /// Fresh weights (spec Mamba 1.6): a function of config and seed alone.
    static Model initialise(const ModelConfig& config, std::uint64_t seed, Allocator& allocator);
    /// Values undefined: for a caller that fills params() itself.
    static Model uninitialised(const ModelConfig& config, Allocator& allocator);

    /// On the host, of a model on the host: the same with a head of so many classes, zeros where it
    /// had no such head before; 0: without one.
    Model with_classes(std::int64_t classes) const;
    /// The same weights in the memory of `queue`, which outlives the model: this model itself where
    /// that is the host. Only a model on the host can be saved or hashed.
    Model on_device(DeviceQueue& queue) &&;
    /// A copy on the host of a model on the device of `queue`.
    Model on_host(DeviceQueue& queue) const;

    const ModelConfig& config() const noexcept { return file_.model; }
    ParamTable& params() noexcept { return params_; }
    const ParamTable& params() const noexcept { return params_; }
    std::optional<Provenance>& provenance() noexcept { return file_.mambase; }
    const std::optional<Provenance>& provenance() const noexcept { return file_.mambase; }
    const ConfigFile& config_file() const noexcept { return file_; }

    /// Hexadecimal SHA-256 over names, shapes and values; not over where they came from.
    std::string hash() const;
    /// Validated length in bases, 0 for unbounded; 8,192 for a directory without our key.
    std::int64_t context_or_default() const noexcept;
    /// Throws Error{format} unless the model was trained with this tokenizer. A directory without
    /// our key says nothing and passes.
    void require_tokenizer(std::string_view name, std::string_view hash) const;

  private:
    Model(ConfigFile file, Allocator& allocator);
    Model copy_in(Allocator& allocator, DeviceQueue& queue) const;
    ConfigFile file_;
    ParamTable params_;
};

/// Writes config.json and model.safetensors into `dir` (made where it is missing), each whole and
/// by rename, weights first. Throws Error{io}.
void save_model(const std::string& dir, const Model& model);

}  // namespace mambase::model
