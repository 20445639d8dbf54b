#include "pipelines/engine.hpp"

#include "base/checked_math.hpp"
#include "base/text.hpp"
#include "kernels/ops/op_table.hpp"

namespace mambase::pipelines {

namespace {

std::unique_ptr<DeviceQueue> open(Device device) {
    return device.kind == Device::Kind::cpu ? nullptr : ops::open_device(device);
}

}  // namespace

Engine::Engine(const Runtime& runtime)
    : observer_(runtime.observer),
      device_(open(runtime.device)),
      pool_(runtime.threads),
      step_(device_ ? device_->memory() : host_allocator()),
      host_(device_ ? device_->host_memory() : host_allocator()),
      context_(ops::op_table(runtime.device),
               pool_,
               step_,
               device_ ? host_ : step_,
               device_ ? *device_ : host_queue(),
               runtime.precision) {
    set_flush_denormals();
}

Engine::~Engine() {
    if (on_gpu()) {
        try {
            observer_.info(concat("peak device memory: ", format_bytes(device_->peak_bytes())));
        } catch (...) {  // a run does not fail for want of its last words
        }
    }
}

std::int64_t Engine::run_tile() const noexcept {
    return context_.table.run_tile;
}

std::int64_t Engine::chunk(std::int64_t asked) const {
    if (!on_gpu()) {
        return asked > 0 ? asked : rows_together();
    }
    return asked > 0 ? round_up(asked, context_.table.gradient_tile) : rows_together();
}

}  // namespace mambase::pipelines
