#include "pipelines/engine.hpp"

namespace mambase::pipelines {

Engine::Engine(const Runtime& runtime)
    : allocator_(host_allocator()),
      pool_(runtime.threads),
      step_(allocator_),
      context_{runtime.device, ops::op_table(runtime.device), pool_, step_} {
    set_flush_denormals();
}

}  // namespace mambase::pipelines
