// The CUDA backend, as kernels/ops/backends.cpp sees it: no CUDA header is needed to read it.
#pragma once

#include "kernels/ops/op_table.hpp"
#include "kernels/tensor/device_queue.hpp"

#include <memory>
#include <string>

namespace mambase::cuda {

const ops::OpTable& table();
/// As ops::open_device.
std::unique_ptr<DeviceQueue> open_device(int index);
/// As ops::device_name and ops::cuda_summary.
std::string device_name(int index);
std::string summary();
/// Devices that are visible, usable or not; 0 where there is no driver.
int device_count() noexcept;

}  // namespace mambase::cuda
