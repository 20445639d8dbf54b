// Every parameter by its Hugging Face name. Loading, saving, initialisation, the optimiser and
// printing iterate this table.
#pragma once

#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/shape.hpp"
#include "model/config.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::model {

/// [C,D]: says in a file that the model is a classifier, and of how many classes.
inline constexpr std::string_view kClassWeightName = "classify_head.weight";

/// How a fresh model draws the values (spec Mamba 1.6).
enum class Init : std::uint8_t {
    zeros,
    ones,
    embedding,  // N(0, 0.02²)
    fan_in,     // U(±1/√fan_in), fan_in = product of the extents but the first
    conv_bias,  // U(±1/√W)
    out_proj,   // fan_in, then divided by √L
    dt_weight,  // U(±dt_scale/√R), or that bound itself
    dt_bias,    // inverse softplus of a log-uniform step in [dt_min, dt_max]
    a_log,      // log(1 … N) in every row
};

struct Param {
    std::string name;
    Shape shape;
    Init init = Init::zeros;
    bool decay = false;   // weight decay applies
    Tensor value;         // f32
    bool frozen = false;  // the optimiser leaves it as it is
};

/// Places in the table of one layer's parameters.
struct LayerParams {
    std::size_t norm = 0;                      // [D]
    std::size_t in_proj = 0;                   // [2E,D]
    std::optional<std::size_t> in_proj_bias;   // [2E]
    std::size_t conv = 0;                      // [E,1,W]
    std::optional<std::size_t> conv_bias;      // [E]
    std::size_t x_proj = 0;                    // [R+2N,E]
    std::size_t dt_proj = 0;                   // [E,R]
    std::size_t dt_bias = 0;                   // [E]
    std::size_t a_log = 0;                     // [E,N]
    std::size_t d = 0;                         // [E]
    std::size_t out_proj = 0;                  // [D,E]
    std::optional<std::size_t> out_proj_bias;  // [D]
};

class ParamTable {
  public:
    /// Names and shapes of all parameters of a model of that form; no memory for values yet.
    explicit ParamTable(const ModelConfig& config);
    /// Gives every parameter its value, contents undefined.
    void allocate(Allocator& allocator);

    std::size_t size() const noexcept { return params_.size(); }
    Param& operator[](std::size_t index) { return params_[index]; }
    const Param& operator[](std::size_t index) const { return params_[index]; }
    auto begin() noexcept { return params_.begin(); }
    auto end() noexcept { return params_.end(); }
    auto begin() const noexcept { return params_.begin(); }
    auto end() const noexcept { return params_.end(); }
    /// Null where there is none of that name.
    Param* find(std::string_view name) noexcept;
    const Param* find(std::string_view name) const noexcept;
    /// Number of values over all parameters.
    std::int64_t count() const;

    const std::vector<LayerParams>& layers() const noexcept { return layers_; }
    std::size_t embedding() const noexcept { return embedding_; }  // [V,D]
    std::size_t norm_f() const noexcept { return norm_f_; }        // [D]
    /// [V,D]; the embedding where it is tied.
    std::size_t head() const noexcept { return head_; }
    /// [C,D] and [C], the last two of the table; only where the model has classes.
    std::size_t class_weight() const noexcept { return params_.size() - 2; }
    std::size_t class_bias() const noexcept { return params_.size() - 1; }

  private:
    std::size_t add(std::string name, const Shape& shape, Init init, bool decay);

    std::vector<Param> params_;
    std::vector<LayerParams> layers_;
    std::size_t embedding_ = 0;
    std::size_t norm_f_ = 0;
    std::size_t head_ = 0;
};

}  // namespace mambase::model
