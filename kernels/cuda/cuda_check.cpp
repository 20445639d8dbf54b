#include "kernels/cuda/cuda_check.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cstdlib>

namespace mambase::cuda {

void require_success(cudaError_t status, const char* what, const char* file, int line) {
    if (status == cudaSuccess) {
        return;
    }
    cudaGetLastError();  // a failure that is not sticky is told once
    const ErrorCode code =
        status == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::device;
    throw Error(code, concat("CUDA: ", cudaGetErrorString(status), " (", cudaGetErrorName(status),
                             ") in ", what, " at ", file, ":", line));
}

bool syncs_each_launch() {
    static const bool sync_each = std::getenv("MAMBASE_CUDA_SYNC_EACH") != nullptr;
    return sync_each;
}

void check_launch(const char* op, cudaStream_t stream) {
    cudaError_t status = cudaGetLastError();
    if (status == cudaSuccess && syncs_each_launch()) {
        status = cudaStreamSynchronize(stream);
    }
    if (status != cudaSuccess) {
        throw Error(ErrorCode::device, concat("CUDA: ", cudaGetErrorString(status), " (",
                                              cudaGetErrorName(status), ") in ", op));
    }
}

}  // namespace mambase::cuda
