#include "kernels/cuda/cuda_queue.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_table.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string_view>

namespace mambase::cuda {

namespace {

std::string version_text(int version) {
    return concat(version / 1000, ".", version % 1000 / 10);
}

/// Why nothing can run, in the user's words.
void require_usable(int index) {
    int driver = 0;
    int runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    const std::string versions =
        concat("driver for CUDA ", driver == 0 ? "not found" : version_text(driver),
               ", this build needs ", version_text(runtime));
    if (status != cudaSuccess) {
        cudaGetLastError();
        throw Error(ErrorCode::device, concat("no CUDA device can be used: ",
                                              cudaGetErrorString(status), " (", versions, ")"));
    }
    MAMBASE_REQUIRE(index >= 0 && index < count, ErrorCode::device,
                    concat("there is no CUDA device ", index, ": ", count, " visible"));
    cudaDeviceProp properties{};
    MAMBASE_CUDA_TRY(cudaGetDeviceProperties(&properties, index));
    MAMBASE_REQUIRE(properties.major >= 8, ErrorCode::device,
                    concat("the card ", properties.name, " has compute capability ",
                           properties.major, ".", properties.minor, "; 8.0 is needed"));
}

bool keeps_graphs() {
    const char* const graphs = std::getenv("MAMBASE_CUDA_GRAPHS");
    return (graphs == nullptr || std::string_view(graphs) != "0") && !syncs_each_launch();
}

class Graph final : public DeviceQueue::Recording {
  public:
    /// `graph` is given up.
    Graph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
        const cudaError_t status = cudaGraphInstantiate(&exec_, graph, 0);
        cudaGraphDestroy(graph);
        require_success(status, "cudaGraphInstantiate", __FILE__, __LINE__);
    }
    ~Graph() override {
        cudaStreamSynchronize(stream_);  // it may be at work
        cudaGraphExecDestroy(exec_);
    }
    void replay() override { MAMBASE_CUDA_TRY(cudaGraphLaunch(exec_, stream_)); }

  private:
    cudaStream_t stream_;
    cudaGraphExec_t exec_ = nullptr;
};

class Event final : public DeviceQueue::Fence {
  public:
    explicit Event(cudaStream_t stream) {
        MAMBASE_CUDA_TRY(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
        const cudaError_t status = cudaEventRecord(event_, stream);
        if (status != cudaSuccess) {
            cudaEventDestroy(event_);
        }
        require_success(status, "cudaEventRecord", __FILE__, __LINE__);
    }
    ~Event() override { cudaEventDestroy(event_); }
    void wait() override { MAMBASE_CUDA_TRY(cudaEventSynchronize(event_)); }

  private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace

void* DeviceAllocator::allocate(std::int64_t bytes, std::string_view label) {
    void* data = nullptr;
    const cudaError_t status =
        cudaMallocAsync(&data, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)), stream_);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw Error(ErrorCode::out_of_memory,
                    concat("out of device memory: ", format_bytes(bytes), " for ", label,
                           ", beside ", format_bytes(held_), " held"));
    }
    require_success(status, "cudaMallocAsync", __FILE__, __LINE__);
    held_ += bytes;
    peak_ = std::max(peak_, held_);
    return data;
}

void DeviceAllocator::release(void* data, std::int64_t bytes) noexcept {
    cudaFreeAsync(data, stream_);
    held_ -= bytes;
}

void* PinnedAllocator::allocate(std::int64_t bytes, std::string_view label) {
    void* data = nullptr;
    const cudaError_t status =
        cudaMallocHost(&data, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)));
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw Error(ErrorCode::out_of_memory,
                    concat("out of page-locked memory: ", format_bytes(bytes), " for ", label));
    }
    require_success(status, "cudaMallocHost", __FILE__, __LINE__);
    return data;
}

void PinnedAllocator::release(void* data, std::int64_t /*bytes*/) noexcept {
    cudaFreeHost(data);
}

CudaQueue::CudaQueue(int index) : index_(index) {
    require_usable(index);
    MAMBASE_CUDA_TRY(cudaSetDevice(index));
    MAMBASE_CUDA_TRY(
        cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, index));
    MAMBASE_CUDA_TRY(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    MAMBASE_CUDA_TRY(cudaStreamCreateWithFlags(&results_, cudaStreamNonBlocking));
    MAMBASE_CUDA_TRY(cudaEventCreateWithFlags(&asked_, cudaEventDisableTiming));
    // What the pool has, it keeps: blocks come and go every step.
    cudaMemPool_t pool = nullptr;
    MAMBASE_CUDA_TRY(cudaDeviceGetDefaultMemPool(&pool, index));
    std::uint64_t threshold = std::numeric_limits<std::uint64_t>::max();
    MAMBASE_CUDA_TRY(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
    memory_ = std::make_unique<DeviceAllocator>(index, stream_);
    products_ = std::make_unique<Products>(stream_);
}

CudaQueue::~CudaQueue() {
    cudaStreamSynchronize(results_);
    cudaStreamSynchronize(stream_);
    cudaEventDestroy(asked_);
    cudaStreamDestroy(results_);
    cudaStreamDestroy(stream_);
}

void CudaQueue::copy_bytes(void* to, const void* from, std::int64_t bytes) {
    if (bytes > 0) {
        MAMBASE_CUDA_TRY(
            cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream_));
    }
}

void CudaQueue::zero_bytes(void* to, std::int64_t bytes) {
    if (bytes > 0) {
        MAMBASE_CUDA_TRY(cudaMemsetAsync(to, 0, static_cast<std::size_t>(bytes), stream_));
    }
}

void CudaQueue::wait() {
    MAMBASE_CUDA_TRY(cudaStreamSynchronize(stream_));
    MAMBASE_CUDA_TRY(cudaStreamSynchronize(results_));
}

void CudaQueue::fetch_bytes(void* to, const void* from, std::int64_t bytes) {
    if (bytes > 0) {
        MAMBASE_CUDA_TRY(cudaEventRecord(asked_, stream_));
        MAMBASE_CUDA_TRY(cudaStreamWaitEvent(results_, asked_));
        MAMBASE_CUDA_TRY(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                         cudaMemcpyDeviceToHost, results_));
    }
}

std::unique_ptr<DeviceQueue::Fence> CudaQueue::fence() {
    MAMBASE_CUDA_TRY(cudaEventRecord(asked_, stream_));
    MAMBASE_CUDA_TRY(cudaStreamWaitEvent(results_, asked_));
    return std::make_unique<Event>(results_);
}

std::unique_ptr<DeviceQueue::Recording> CudaQueue::record(const std::function<void()>& work) {
    if (!keeps_graphs()) {
        return DeviceQueue::record(work);
    }
    cudaGraph_t graph = nullptr;
    MAMBASE_CUDA_TRY(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    try {
        work();
    } catch (...) {
        if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) {
            cudaGraphDestroy(graph);
        }
        cudaGetLastError();
        throw;
    }
    MAMBASE_CUDA_TRY(cudaStreamEndCapture(stream_, &graph));
    auto kept = std::make_unique<Graph>(graph, stream_);
    kept->replay();
    return kept;
}

std::int64_t CudaQueue::free_bytes() {
    std::size_t free = 0;
    std::size_t total = 0;
    MAMBASE_CUDA_TRY(cudaMemGetInfo(&free, &total));
    return static_cast<std::int64_t>(free);
}

CudaQueue& queue_of(ops::Context& context) {
    MAMBASE_ASSERT(context.device.kind == Device::Kind::cuda);
    return static_cast<CudaQueue&>(context.queue);
}

cudaStream_t stream_of(ops::Context& context) {
    return queue_of(context).stream();
}

std::string device_name(int index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) {
        cudaGetLastError();
        return concat("cuda:", index);
    }
    return concat("cuda:", index, " ", properties.name);
}

std::string summary() {
    int driver = 0;
    int runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    std::string out = concat("runtime ", version_text(runtime), ", driver for ",
                             driver == 0 ? "none found" : version_text(driver));
    const int count = device_count();
    for (int index = 0; index < count; ++index) {
        out += concat(index == 0 ? ": " : ", ", device_name(index));
    }
    return out;
}

int device_count() noexcept {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        cudaGetLastError();
        return 0;
    }
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    cudaGetLastError();
    // With a driver that cannot serve this build there is a device all the same: opening it says
    // why it cannot be used.
    return status == cudaErrorNoDevice ? 0 : status == cudaSuccess ? count : 1;
}

}  // namespace mambase::cuda
