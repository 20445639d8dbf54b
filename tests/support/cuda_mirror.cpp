#include "tests/support/cuda_mirror.hpp"

#include "base/text.hpp"
#include "base/thread_pool.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "tests/support/tensor_tools.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <vector>

namespace mambase::test {

namespace {

using detail::element;
using detail::for_each_element;
using detail::set_element;

enum class Role : std::uint8_t { activation, wide_activation, other };
constexpr Role kActivation = Role::activation;
constexpr Role kOther = Role::other;

// The fields of each op, in their roles. An output is what can be written through.

template <class Use>
void each_field(ops::Embedding& op, const Use& use) {
    use(kOther, op.ids, op.table);
    use(kActivation, op.y);
}
template <class Use>
void each_field(ops::EmbeddingGrad& op, const Use& use) {
    use(kOther, op.ids, op.dtable);
    use(kActivation, op.dy);
}
template <class Use>
void each_field(ops::Linear& op, const Use& use) {
    use(kActivation, op.x);
    use(kOther, op.weight, op.bias);
    use(Role::wide_activation, op.y);
}
template <class Use>
void each_field(ops::LinearGrad& op, const Use& use) {
    use(kActivation, op.x, op.dy, op.dx);
    use(kOther, op.weight, op.dweight, op.dbias);
}
template <class Use>
void each_field(ops::RmsNorm& op, const Use& use) {
    use(kActivation, op.hidden, op.y);
    use(kOther, op.residual_in, op.ids, op.weight, op.residual_out, op.rstd);
}
template <class Use>
void each_field(ops::RmsNormGrad& op, const Use& use) {
    use(kActivation, op.dy);
    use(kOther, op.residual_out, op.weight, op.rstd, op.dresidual_out, op.dx, op.dx_bf16,
        op.dweight);
}
template <class Use>
void each_field(ops::CausalConv1d& op, const Use& use) {
    use(kActivation, op.x, op.y);
    use(kOther, op.weight, op.bias, op.segment, op.valid, op.state_in, op.state_out);
}
template <class Use>
void each_field(ops::CausalConv1dGrad& op, const Use& use) {
    use(kActivation, op.x, op.dy, op.dx);
    use(kOther, op.weight, op.bias, op.segment, op.valid, op.state_in, op.dstate_out, op.dweight,
        op.dbias, op.dstate_in);
}
template <class Use>
void each_field(ops::SelectiveScan& op, const Use& use) {
    use(kActivation, op.x, op.dt_raw, op.z, op.b, op.c, op.y);
    use(kOther, op.a_log, op.d, op.dt_bias, op.segment, op.valid, op.state_in, op.state_out,
        op.saved);
}
template <class Use>
void each_field(ops::SelectiveScanGrad& op, const Use& use) {
    use(kActivation, op.x, op.dt_raw, op.z, op.b, op.c);
    use(kActivation, op.dy, op.dx, op.ddt_raw, op.dz, op.db, op.dc);
    use(kOther, op.a_log, op.d, op.dt_bias, op.segment, op.valid, op.state_in, op.saved,
        op.dstate_out);
    use(kOther, op.da_log, op.dd, op.ddt_bias, op.dstate_in);
}
template <class Use>
void each_field(ops::CrossEntropy& op, const Use& use) {
    use(kOther, op.logits, op.targets, op.weight, op.support, op.loss, op.best, op.loss_sum);
}
template <class Use>
void each_field(ops::CrossEntropyGrad& op, const Use& use) {
    use(kOther, op.logits, op.targets, op.weight, op.scale_there);
    use(kActivation, op.dlogits);
}
template <class Use>
void each_field(ops::Pool& op, const Use& use) {
    use(kActivation, op.x);
    use(kOther, op.group, op.sum, op.count);
}
template <class Use>
void each_field(ops::PoolValues& op, const Use& use) {
    use(kOther, op.sum, op.count, op.y);
}
template <class Use>
void each_field(ops::PoolGrad& op, const Use& use) {
    use(kActivation, op.x, op.dx);
    use(kOther, op.group, op.sum, op.count, op.dy, op.pending);
}
template <class Use>
void each_field(ops::Cast& op, const Use& use) {
    use(kOther, op.x, op.y);
}
template <class Use>
void each_field(ops::Fill& op, const Use& use) {
    use(kOther, op.y);
}
template <class Use>
void each_field(ops::Add& op, const Use& use) {
    use(kOther, op.x, op.y);
}
template <class Use>
void each_field(ops::NormSq& op, const Use& use) {
    use(kOther, op.x, op.sum);
}
template <class Use>
void each_field(ops::AdamW& op, const Use& use) {
    for (ops::AdamW::Part& part : op.parts) {
        use(kOther, part.param, part.m, part.v, part.grad);
    }
}

/// The device and what ops find in their context. Never destroyed: the driver goes first.
struct DeviceLab {
    std::unique_ptr<DeviceQueue> queue = ops::open_device({Device::Kind::cuda, 0});
    ThreadPool pool{1};
    StepMemory host{queue->host_memory()};
    Buffer nothing{queue->memory(), 64, "nothing"};  // where views without elements point

    static DeviceLab& instance() {
        static DeviceLab& lab = *new DeviceLab;
        return lab;
    }
};

/// Memory for scratch that reads as NaN until it is written.
class ScratchAllocator final : public Allocator {
  public:
    explicit ScratchAllocator(DeviceQueue& queue) : queue_(queue) {}
    Device device() const noexcept override { return queue_.device(); }
    void* allocate(std::int64_t bytes, std::string_view label) override {
        void* const data = queue_.memory().allocate(bytes, label);
        if (std::getenv("MAMBASE_TEST_RAW_SCRATCH") == nullptr) {
            MAMBASE_CUDA_TRY(cudaMemsetAsync(data, 0xFF, static_cast<std::size_t>(bytes),
                                             static_cast<cuda::CudaQueue&>(queue_).stream()));
        }
        return data;
    }
    void release(void* data, std::int64_t bytes) noexcept override {
        queue_.memory().release(data, bytes);
    }

  private:
    DeviceQueue& queue_;
};

/// Calls use(element offset, elements) for each row of a view whose rows have no gaps inside.
template <class Use>
void each_row(const TensorView& view, const Use& use) {
    const int last = view.shape().rank() - 1;
    for_each_element(view.slice(last, 0, 1), [&](std::int64_t offset, std::int64_t /*n*/) {
        use(offset, view.extent(last));
    });
}

/// A piece of host memory that the views of one call span together, and its copy on the device.
struct Region {
    const char* begin;
    const char* end;
    bool narrow;  // f32 here, bf16 there
    std::vector<unsigned char> image;
    std::vector<unsigned char> is_output;  // of the image's bytes
    Buffer device;

    std::int64_t to_device(std::int64_t bytes) const { return narrow ? bytes / 2 : bytes; }
    /// Of a host address in the image; begin keeps its place within 64 bytes.
    std::int64_t offset(const void* host) const {
        const std::int64_t pad = std::bit_cast<std::intptr_t>(begin) % 64;
        return to_device(pad + (static_cast<const char*>(host) - begin));
    }

    void upload(DeviceQueue& queue) {
        image.assign(static_cast<std::size_t>(offset(end)), 0xFF);
        is_output.assign(image.size(), 0);
        unsigned char* const to = image.data() + offset(begin);
        if (narrow) {
            for (std::int64_t i = 0; i < (end - begin) / 4; ++i) {
                set_element(DType::bf16, to, i, element(DType::f32, begin, i));
            }
        } else {
            std::copy(begin, end, to);
        }
        const auto bytes = static_cast<std::int64_t>(image.size());
        device = Buffer(queue.memory(), bytes, "mirrored tensor");
        queue.copy_bytes(device.data(), image.data(), bytes);
    }

    /// Replaces the image by what the op has left, of which only outputs may differ.
    void download(DeviceQueue& queue) {
        std::vector<unsigned char> after(image.size());
        queue.copy_bytes(after.data(), device.data(), static_cast<std::int64_t>(after.size()));
        queue.wait();
        for (std::size_t i = 0; i < image.size(); ++i) {
            if (after[i] != image[i] && is_output[i] == 0) {
                throw std::runtime_error(concat("an op on the device has written byte ", i, " of ",
                                                image.size(), ", which is none of its outputs'"));
            }
        }
        image = std::move(after);
    }
};

/// One call of an op: its views here and there.
class MirroredCall {
  public:
    explicit MirroredCall(Mirror mirror) : mirror_(mirror) {}

    void add(Role role, const ConstTensorView& view) {
        if (!view || view.count() == 0) {
            return;
        }
        std::int64_t last = 0;  // element
        for (int dim = 0; dim < view.shape().rank(); ++dim) {
            last += (view.extent(dim) - 1) * view.stride(dim);
        }
        const auto* const begin = static_cast<const char*>(view.data());
        Region region{
            begin, begin + (last + 1) * size_of(view.dtype()), is_narrow(role, view), {}, {}, {}};
        for (auto it = regions_.begin(); it != regions_.end();) {  // one of all that overlap
            if (it->begin < region.end && region.begin < it->end) {
                if (it->narrow != region.narrow) {
                    throw std::runtime_error("views of one memory in two types on the device");
                }
                region.begin = std::min(region.begin, it->begin);
                region.end = std::max(region.end, it->end);
                it = regions_.erase(it);
            } else {
                ++it;
            }
        }
        regions_.push_back(std::move(region));
    }

    void upload(DeviceQueue& queue) {
        for (Region& region : regions_) {
            region.upload(queue);
        }
    }

    template <bool IsConst>
    BasicTensorView<IsConst> on_device(Role role, const BasicTensorView<IsConst>& view) {
        if (!view) {
            return view;
        }
        const DType dtype = is_narrow(role, view) ? DType::bf16 : view.dtype();
        const Buffer& nothing = DeviceLab::instance().nothing;
        if (view.count() == 0) {
            return {nothing.data(), dtype, view.shape(), nothing.device()};
        }
        // Strides as those of a slice of a dense tensor.
        Shape wide = view.shape();
        for (int dim = wide.rank() - 1; dim > 0; --dim) {
            wide.set(dim, view.stride(dim - 1) / view.stride(dim));
        }
        Region& region = region_of(view.data());
        BasicTensorView<IsConst> out(
            static_cast<char*>(region.device.data()) + region.offset(view.data()), dtype, wide,
            nothing.device());
        for (int dim = 0; dim < wide.rank(); ++dim) {
            MAMBASE_ASSERT(out.stride(dim) == view.stride(dim));
            out = out.slice(dim, 0, view.extent(dim));
        }
        if constexpr (!IsConst) {
            unsigned char* const first = region.is_output.data() + region.offset(view.data());
            each_row(view, [&](std::int64_t at, std::int64_t count) {
                std::fill_n(first + at * size_of(dtype), count * size_of(dtype), 1);
            });
        }
        return out;
    }

    void download(DeviceQueue& queue) {
        for (Region& region : regions_) {
            region.download(queue);
        }
    }

    void take_back(Role role, const TensorView& view) {
        if (!view || view.count() == 0) {
            return;
        }
        const DType dtype = is_narrow(role, view) ? DType::bf16 : view.dtype();
        Region& region = region_of(view.data());
        const unsigned char* const from = region.image.data() + region.offset(view.data());
        const std::int64_t size = size_of(dtype);
        each_row(view, [&](std::int64_t at, std::int64_t count) {
            if (dtype == view.dtype()) {
                std::copy_n(from + at * size, count * size,
                            static_cast<unsigned char*>(view.data()) + at * size);
                return;
            }
            for (std::int64_t i = at; i < at + count; ++i) {
                set_element(view.dtype(), view.data(), i, element(dtype, from, i));
            }
        });
    }
    void take_back(Role /*role*/, const ConstTensorView& /*view*/) {}

  private:
    /// Whether an argument's f32 is bf16 on the device.
    bool is_narrow(Role role, const ConstTensorView& view) const {
        return view.dtype() == DType::f32 &&
               (mirror_ == Mirror::bf16 ? role != kOther
                                        : mirror_ != Mirror::f32 && role == kActivation);
    }

    Region& region_of(const void* host) {
        return *std::find_if(regions_.begin(), regions_.end(), [host](const Region& region) {
            return region.begin <= host && host < region.end;
        });
    }

    Mirror mirror_;
    std::vector<Region> regions_;
};

template <Mirror kMirror, auto Run, class Op>
void run_mirrored(ops::Context& /*host*/, const Op& host_op) {
    DeviceLab& lab = DeviceLab::instance();
    ScratchAllocator scratch(*lab.queue);
    StepMemory step(scratch);
    ops::Context context(ops::op_table(lab.queue->device()), lab.pool, step, lab.host, *lab.queue,
                         kMirror == Mirror::f32 ? DType::f32 : DType::bf16);
    const StepMemory::Scope host_scope(lab.host);
    MirroredCall call(kMirror);
    Op op = host_op;
    each_field(op, [&](Role role, auto&... views) { (call.add(role, views), ...); });
    call.upload(*lab.queue);
    each_field(op,
               [&](Role role, auto&... views) { ((views = call.on_device(role, views)), ...); });
    Run(context, op);
    call.download(*lab.queue);
    op = host_op;
    each_field(op, [&](Role role, auto&... views) { (call.take_back(role, views), ...); });
    if (step.in_use() != 0 || lab.host.in_use() != 0) {
        throw std::runtime_error("an op on the device keeps scratch");
    }
}

template <Mirror kMirror, auto Run, class Op>
void mirror_entry(void (*&entry)(ops::Context&, const Op&)) {
    if (entry != nullptr) {
        entry = &run_mirrored<kMirror, Run, Op>;
    }
}

template <Mirror kMirror>
ops::OpTable make_table(const char* name) {
    ops::OpTable table = ops::op_table({Device::Kind::cuda, 0});
    table.name = name;
    table.bf16 = false;  // for those who call it, everything is f32
    mirror_entry<kMirror, &ops::embedding_forward>(table.embedding_forward);
    mirror_entry<kMirror, &ops::embedding_backward>(table.embedding_backward);
    mirror_entry<kMirror, &ops::linear_forward>(table.linear_forward);
    mirror_entry<kMirror, &ops::linear_backward>(table.linear_backward);
    mirror_entry<kMirror, &ops::rms_norm_forward>(table.rms_norm_forward);
    mirror_entry<kMirror, &ops::rms_norm_backward>(table.rms_norm_backward);
    mirror_entry<kMirror, &ops::causal_conv1d_forward>(table.causal_conv1d_forward);
    mirror_entry<kMirror, &ops::causal_conv1d_backward>(table.causal_conv1d_backward);
    mirror_entry<kMirror, &ops::selective_scan_forward>(table.selective_scan_forward);
    mirror_entry<kMirror, &ops::selective_scan_backward>(table.selective_scan_backward);
    mirror_entry<kMirror, &ops::cross_entropy_forward>(table.cross_entropy_forward);
    mirror_entry<kMirror, &ops::cross_entropy_backward>(table.cross_entropy_backward);
    mirror_entry<kMirror, &ops::pool_forward>(table.pool_forward);
    mirror_entry<kMirror, &ops::pool_values>(table.pool_values);
    mirror_entry<kMirror, &ops::pool_backward>(table.pool_backward);
    mirror_entry<kMirror, &ops::cast>(table.cast);
    mirror_entry<kMirror, &ops::fill>(table.fill);
    mirror_entry<kMirror, &ops::add>(table.add);
    mirror_entry<kMirror, &ops::norm_sq>(table.norm_sq);
    mirror_entry<kMirror, &ops::adamw>(table.adamw);
    return table;
}

}  // namespace

const ops::OpTable* cuda_mirror(Mirror mirror) {
    if (ops::device_count(Device::Kind::cuda) == 0) {
        return nullptr;
    }
    static const ops::OpTable tables[] = {make_table<Mirror::f32>("cuda"),
                                          make_table<Mirror::bf16>("cuda bf16"),
                                          make_table<Mirror::bf16_to_wide>("cuda bf16 to f32")};
    return &tables[static_cast<int>(mirror)];
}

}  // namespace mambase::test
