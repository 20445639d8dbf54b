#include "pipelines/build_info.hpp"

#include "genomics_io/htslib_version.hpp"
#include "kernels/ops/context.hpp"
#include "model/config.hpp"

namespace mambase::pipelines {

std::string backend_name(Device device) {
    return ops::device_name(device);
}

bool has_cuda() {
    return ops::has_backend(Device::Kind::cuda);
}

int cuda_devices() {
    return ops::device_count(Device::Kind::cuda);
}

std::string cuda_summary() {
    return ops::cuda_summary();
}

std::string_view htslib_version() {
    return io::htslib_version();
}

int model_format_version() {
    return static_cast<int>(model::Provenance{}.format_version);
}

}  // namespace mambase::pipelines
