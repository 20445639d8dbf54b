#include "pipelines/runtime.hpp"

#include "base/error.hpp"

namespace mambase::pipelines {

void Runtime::throw_if_stopped() const {
    MAMBASE_REQUIRE(!stop_requested(), ErrorCode::cancelled, "stopped on request");
}

}  // namespace mambase::pipelines
