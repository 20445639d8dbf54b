// What this build is made of and what it can do here; for `mambase version` and the summaries.
#pragma once

#include "kernels/tensor/dtype.hpp"

#include <string>
#include <string_view>

namespace mambase::pipelines {

/// The backend of a device with its instruction set or card: "cpu avx2". Throws as ops::op_table
/// does.
std::string backend_name(Device device);
/// Whether this build has the CUDA backend.
bool has_cuda();
/// CUDA devices that are visible to this build, usable or not.
int cuda_devices();
/// One line: runtime, driver, devices.
std::string cuda_summary();

std::string_view htslib_version();

/// Version of the "mambase" key in a model's config.json.
int model_format_version();

}  // namespace mambase::pipelines
