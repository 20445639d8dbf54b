// Tensors past 2^31 elements for tests: they lie on a device alone, the host has what they are made
// of and looks at what comes out in pieces.
#pragma once

#include "tests/parity/errors.hpp"
#include "tests/support/places.hpp"
#include "tests/support/tensor_tools.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace mambase::test::large {

/// Rows after which values repeat: an odd number, so that an offset that has lost its upper bits
/// meets another row.
inline constexpr std::int64_t kPeriod = 1009;

struct Extents {
    std::int64_t lanes, length, width;
    constexpr std::int64_t rows() const { return lanes * length; }
    Shape shape(std::int64_t columns) const { return {lanes, length, columns}; }
};

/// [B,T,W] whose row r, counted over all lanes, is row r mod kPeriod of `pattern`.
struct Periodic {
    Tensor pattern;  // [1,kPeriod,W] on the host
    Tensor values;   // [B,T,W] there

    TensorView view() { return values.view(); }
    Array array() const { return to_array(pattern.view()); }
    /// The first rows of the pattern.
    Array first(std::int64_t rows) const { return to_array(pattern.view().slice(1, 0, rows)); }
    /// Positions [lo, hi) of lanes [from, to) of some channels, as values have them.
    Array part(const Extents& at,
               std::int64_t from,
               std::int64_t to,
               std::int64_t lo,
               std::int64_t hi,
               const std::vector<std::int64_t>& channels) const {
        const std::int64_t width = pattern.shape()[2];
        Array out({to - from, hi - lo, static_cast<std::int64_t>(channels.size())});
        std::size_t n = 0;
        for (std::int64_t lane = from; lane < to; ++lane) {
            for (std::int64_t t = lo; t < hi; ++t) {
                const std::int64_t row = (lane * at.length + t) % kPeriod;
                for (const std::int64_t channel : channels) {
                    out.values[n++] = detail::element(pattern.dtype(), pattern.view().data(),
                                                      row * width + channel);
                }
            }
        }
        return out;
    }
};

inline std::vector<std::int64_t> range(std::int64_t lo, std::int64_t hi) {
    std::vector<std::int64_t> out(static_cast<std::size_t>(hi - lo));
    std::iota(out.begin(), out.end(), lo);
    return out;
}

/// [E,·] or [E] of some channels.
inline Array of_channels(const Array& values, const std::vector<std::int64_t>& channels) {
    const auto width = static_cast<std::int64_t>(values.values.size()) / values.shape[0];
    Array out = values;
    out.shape.set(0, static_cast<std::int64_t>(channels.size()));
    out.values.clear();
    for (const std::int64_t channel : channels) {
        const auto from = values.values.begin() + channel * width;
        out.values.insert(out.values.end(), from, from + width);
    }
    return out;
}

/// What sums over the rows of patterns come to over `rows` of their repetitions. sum(n): over the
/// first n.
template <class Sum>
Array over_all(std::int64_t rows, const Sum& sum) {
    Array total = sum(kPeriod);
    for (double& value : total.values) {
        value *= static_cast<double>(rows / kPeriod);
    }
    if (rows % kPeriod > 0) {
        add_to(total, sum(rows % kPeriod));
    }
    return total;
}

class Lab {
  public:
    explicit Lab(const Place& place)
        : context_(place),
          threads_(std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 16)),
          backend_{&(*context_).table, place.is_device(), place.activations} {}

    ops::Context& context() { return *context_; }
    ThreadPool& threads() { return threads_; }
    DType type() const { return backend_.activations; }
    Errors errors(const char* op) const { return {backend_, op}; }
    const Backend& backend() const { return backend_; }
    Tensor make(DType dtype, const Shape& shape) { return context_.make(dtype, shape); }
    Tensor zeros(DType dtype, const Shape& shape) {
        Tensor out = make(dtype, shape);
        zero(context_.queue(), out.view());
        return out;
    }
    Tensor up(ConstTensorView host) { return context_.up(host); }
    Array down(ConstTensorView view) {
        const Tensor host = context_.down(view);
        return to_array(host.view());
    }

    /// Normal values of the activations' type or another.
    Periodic periodic(const Extents& at, DType dtype, std::int64_t width, std::uint64_t stream) {
        return repeated(
            at, from_array(dtype, to_array(normal_tensor({1, kPeriod, width}, 1, stream).view())));
    }
    Periodic ids(const Extents& at, std::int64_t n, std::uint64_t stream) {
        return repeated(at, random_ids(DType::u8, {1, kPeriod, 1}, n, 1, stream));
    }

    /// Rows [lo, hi) of a [B,T,W] or [B,T] tensor there, counted over all lanes: [1,hi − lo,W].
    Array rows(ConstTensorView view, std::int64_t lo, std::int64_t hi) {
        const std::int64_t count = view.extent(0) * view.extent(1);
        const std::int64_t width = view.count() / count;
        return down(view.reshape({1, count, width}).slice(1, lo, hi));
    }
    /// Some channels of all rows: [B,T,channels].
    Array channels(ConstTensorView view, const std::vector<std::int64_t>& which) {
        Array out({view.extent(0), view.extent(1), static_cast<std::int64_t>(which.size())});
        std::size_t n = 0;
        for_each_piece(view, [&](std::int64_t rows, const unsigned char* data) {
            for (std::int64_t row = 0; row < rows; ++row) {
                for (const std::int64_t channel : which) {
                    out.values[n++] =
                        detail::element(view.dtype(), data, row * view.extent(2) + channel);
                }
            }
        });
        return out;
    }
    /// How many rows from the first one on have the bits of the row a period before, if any.
    std::int64_t repeating_rows(ConstTensorView view) {
        const std::int64_t bytes = row_bytes(view);
        std::vector<unsigned char> period(static_cast<std::size_t>(kPeriod * bytes));
        std::int64_t done = 0;
        std::int64_t same = 0;
        for_each_piece(view, [&](std::int64_t rows, const unsigned char* data) {
            for (std::int64_t i = 0; i < rows; ++i, ++done) {
                unsigned char* const first = period.data() + done % kPeriod * bytes;
                const unsigned char* const row = data + i * bytes;
                if (done < kPeriod) {
                    std::memcpy(first, row, static_cast<std::size_t>(bytes));
                }
                same +=
                    same == done && std::memcmp(first, row, static_cast<std::size_t>(bytes)) == 0
                        ? 1
                        : 0;
            }
        });
        return same;
    }

    /// All rows of a [B,T,W] or [B,T] tensor there, where those of `expected` repeat.
    void check_rows(const char* op,
                    const char* result,
                    ConstTensorView view,
                    const Array& expected,
                    double bound) {
        INFO(result);
        Array period = rows(view, 0, kPeriod);
        period.shape = expected.shape;
        errors(op).values(result, period, expected, bound);
        CHECK(repeating_rows(view) == view.extent(0) * view.extent(1));
    }

  private:
    static constexpr std::int64_t kPiece = std::int64_t{64} << 20;  // bytes

    static std::int64_t row_bytes(ConstTensorView view) {
        return view.count() / (view.extent(0) * view.extent(1)) * size_of(view.dtype());
    }

    Periodic repeated(const Extents& at, Tensor pattern) {
        const std::int64_t width = pattern.shape()[2];
        const std::int64_t bytes = width * size_of(pattern.dtype());
        Periodic out{std::move(pattern), {}};
        out.values = make(out.pattern.dtype(), at.shape(width));
        auto* const to = static_cast<unsigned char*>(out.values.view().data());
        DeviceQueue& queue = context_.queue();
        std::int64_t done = std::min(kPeriod, at.rows());
        queue.copy_bytes(to, std::as_const(out.pattern).view().data(), done * bytes);
        while (done < at.rows()) {  // what is there, once more: whole periods
            const std::int64_t more = std::min(done, at.rows() - done);
            queue.copy_bytes(to + done * bytes, to, more * bytes);
            done += more;
        }
        queue.wait();
        return out;
    }

    /// Calls use(rows, their data on the host) for all rows in turn.
    template <class Use>
    void for_each_piece(ConstTensorView view, const Use& use) {
        const std::int64_t bytes = row_bytes(view);
        const std::int64_t count = view.extent(0) * view.extent(1);
        const std::int64_t step = std::max<std::int64_t>(kPiece / bytes, 1);
        Tensor piece(context_.queue().host_memory(), DType::u8, {step * bytes}, "test");
        for (std::int64_t row = 0; row < count; row += step) {
            const std::int64_t here = std::min(step, count - row);
            context_.queue().copy_bytes(
                piece.view().data(), static_cast<const unsigned char*>(view.data()) + row * bytes,
                here * bytes);
            context_.queue().wait();
            use(here, static_cast<const unsigned char*>(piece.view().data()));
        }
    }

    PlacedContext context_;
    ThreadPool threads_;
    Backend backend_;
};

}  // namespace mambase::test::large
