#include "pipelines/build_info.hpp"

#include "genomics_io/htslib_version.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/config.hpp"

namespace mambase::pipelines {

std::string backend_name(Device device) {
    return ops::op_table(device).name;
}

std::string_view htslib_version() {
    return io::htslib_version();
}

int model_format_version() {
    return static_cast<int>(model::Provenance{}.format_version);
}

}  // namespace mambase::pipelines
