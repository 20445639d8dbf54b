// Fresh weights (spec Mamba 1.6). Private to model/.
#pragma once

#include "model/config.hpp"
#include "model/param_table.hpp"

#include <cstdint>

namespace mambase::model {

/// Fills one parameter. Every draw is a function of seed, the parameter's place in the table and
/// the element's place in the parameter.
void initialise(Param& param, std::size_t index, const ModelConfig& config, std::uint64_t seed);

}  // namespace mambase::model
