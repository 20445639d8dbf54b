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

void check_launch(const char* op, cudaStream_t stream) {
    static const bool sync_each = std::getenv("MAMBASE_CUDA_SYNC_EACH") != nullptr;
    cudaError_t status = cudaGetLastError();
    if (status == cudaSuccess && sync_each) {
        status = cudaStreamSynchronize(stream);
    }
    if (status != cudaSuccess) {
        throw Error(ErrorCode::device, concat("CUDA: ", cudaGetErrorString(status), " (",
                                              cudaGetErrorName(status), ") in ", op));
    }
}

}  // namespace mambase::cuda
