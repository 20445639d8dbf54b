// Return codes of the CUDA runtime as Errors.
#pragma once

#include <cuda_runtime_api.h>

namespace mambase::cuda {

/// Throws Error{out_of_memory} or Error{device} with what was called, where, and why it failed.
void require_success(cudaError_t status, const char* what, const char* file, int line);

/// After every launch: the launch's own failure, and where MAMBASE_CUDA_SYNC_EACH is set in the
/// environment also what happened while `op` ran, so that the op at fault is the one named.
void check_launch(const char* op, cudaStream_t stream);
bool syncs_each_launch();

}  // namespace mambase::cuda

#define MAMBASE_CUDA_TRY(call) ::mambase::cuda::require_success((call), #call, __FILE__, __LINE__)
