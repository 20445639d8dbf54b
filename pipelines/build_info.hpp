// What this build is made of and what it can do here; for `mambase version` and the summaries.
#pragma once

#include "kernels/tensor/dtype.hpp"

#include <string>
#include <string_view>

namespace mambase::pipelines {

/// The backend of a device and its instruction set: "cpu avx2". Throws as ops::op_table does.
std::string backend_name(Device device);

std::string_view htslib_version();

/// Version of the "mambase" key in a model's config.json.
int model_format_version();

}  // namespace mambase::pipelines
