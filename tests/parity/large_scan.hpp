// The selective scan past 2^31 elements: the reference over the whole length for a few channels,
// and over the last rows for all of them.
#pragma once

#include "kernels/ops/selective_scan.hpp"
#include "tests/parity/large_extents.hpp"
#include "tests/support/reference/selective_scan.hpp"

#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

namespace mambase::test::large {

inline constexpr std::int64_t kScanStates = 16;
inline constexpr std::int64_t kScanLastRows = 300;
/// Positions after which the last rows remember nothing of a state but e^-20.
inline constexpr std::int64_t kScanWarmUp = 4096;
/// Positions of a lane whose states the reference keeps at a time.
inline constexpr std::int64_t kScanPiece = 65536;

/// f32 sums of a gradient tile behind bf16 products, over some 4 M addends of random signs: what is
/// looked for here are wrong or missing rows. The largest seen is not yet known.
inline constexpr double kLongScanSum = 2e-2;
/// A state that forgets 5e-4 of itself a position has rounded some 2,000 decays.
inline constexpr double kLongState = 1e-4;

struct ScanInputs {
    Extents at;
    Periodic x, dt_raw, z, dy, b, c;
    Tensor a_log, d, dt_bias;

    /// The first state of the sampled channels forgets slowly: over more than a tile.
    ScanInputs(Lab& lab, const Extents& extents, const std::vector<std::int64_t>& sampled)
        : at(extents),
          x(lab.periodic(at, lab.type(), at.width, 1)),
          dt_raw(lab.periodic(at, lab.type(), at.width, 2)),
          z(lab.periodic(at, lab.type(), at.width, 3)),
          dy(lab.periodic(at, lab.type(), at.width, 4)),
          b(lab.periodic(at, lab.type(), kScanStates, 5)),
          c(lab.periodic(at, lab.type(), kScanStates, 6)),
          a_log(normal_tensor({at.width, kScanStates}, 1, 7, 0.1)),
          d(normal_tensor({at.width}, 1, 8)),
          dt_bias(normal_tensor({at.width}, 1, 9, 0.4, -3.5)) {
        auto* const log = static_cast<float*>(a_log.view().data());
        for (std::int64_t i = 0; i < at.width * kScanStates; ++i) {
            log[i] += std::log(static_cast<float>(i % kScanStates + 1));
        }
        for (const std::int64_t channel : sampled) {
            log[channel * kScanStates] = -4.0F;
        }
    }

    /// Positions [lo, hi) of lanes [from, to) of some channels.
    reference::SelectiveScan reference(std::int64_t from,
                                       std::int64_t to,
                                       std::int64_t lo,
                                       std::int64_t hi,
                                       const std::vector<std::int64_t>& channels) const {
        reference::SelectiveScan op;
        const std::vector<std::int64_t> states = range(0, kScanStates);
        op.x = x.part(at, from, to, lo, hi, channels);
        op.dt_raw = dt_raw.part(at, from, to, lo, hi, channels);
        op.z = z.part(at, from, to, lo, hi, channels);
        op.b = b.part(at, from, to, lo, hi, states);
        op.c = c.part(at, from, to, lo, hi, states);
        const auto count = static_cast<std::int64_t>(channels.size());
        op.a_log = Array({count, kScanStates});
        op.d = op.dt_bias = Array({count});
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t channel = channels[static_cast<std::size_t>(i)];
            op.d(i) = detail::element(DType::f32, d.view().data(), channel);
            op.dt_bias(i) = detail::element(DType::f32, dt_bias.view().data(), channel);
            for (std::int64_t n = 0; n < kScanStates; ++n) {
                op.a_log(i, n) =
                    detail::element(DType::f32, a_log.view().data(), channel * kScanStates + n);
            }
        }
        return op;
    }
};

/// What the scan gives for some channels over [B,T], or for all over a few rows.
struct ScanResults {
    Array y, dx, ddt_raw, dz;  // [B,T,channels]
    Array db, dc;              // [B,T,N], of the last rows alone
    Array state_out;           // [B,channels,N]
    Array da_log, dd;          // [channels,N], [channels]
    Array before_last;         // [B,channels,N]: states where the last rows' reference begins
};

/// Copies `from` [B,·,1] to positions lo … and channel `channel` of `to`.
inline void put(const Array& from, Array& to, std::int64_t lo, std::int64_t channel) {
    for (std::int64_t lane = 0; lane < from.extent(0); ++lane) {
        for (std::int64_t t = 0; t < from.extent(1); ++t) {
            to(lane, lo + t, channel) = from(lane, t, 0);
        }
    }
}

/// Channel number `index` of `sampled` over everything, into its place in `out`; `warm_up`: where
/// the last rows' reference begins.
inline void scan_channel(const ScanInputs& in,
                         const std::vector<std::int64_t>& sampled,
                         std::int64_t index,
                         std::int64_t warm_up,
                         ScanResults& out) {
    const std::int64_t lanes = in.at.lanes;
    const std::vector<std::int64_t> channel = {sampled[static_cast<std::size_t>(index)]};
    std::vector<std::int64_t> cuts = {0};
    while (cuts.back() < in.at.length) {
        const std::int64_t next = std::min(cuts.back() + kScanPiece, in.at.length);
        cuts.push_back(cuts.back() < warm_up && warm_up < next ? warm_up : next);
    }
    std::vector<Array> starts = {Array({lanes, 1, kScanStates})};
    const auto piece = [&](std::size_t i) {
        reference::SelectiveScan op = in.reference(0, lanes, cuts[i], cuts[i + 1], channel);
        op.state_in = starts[i];
        reference::forward(op);
        return op;
    };
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        const reference::SelectiveScan op = piece(i);
        put(op.y, out.y, cuts[i], index);
        starts.push_back(op.state_out);
    }
    reference::SelectiveScanGrad grad;
    for (std::size_t i = cuts.size() - 1; i-- > 0;) {
        grad.dstate_out = grad.dstate_in;
        grad.dy = in.dy.part(in.at, 0, lanes, cuts[i], cuts[i + 1], channel);
        reference::backward(piece(i), grad);
        put(grad.dx, out.dx, cuts[i], index);
        put(grad.ddt_raw, out.ddt_raw, cuts[i], index);
        put(grad.dz, out.dz, cuts[i], index);
        out.dd(index) += grad.dd(0);
        for (std::int64_t n = 0; n < kScanStates; ++n) {
            out.da_log(index, n) += grad.da_log(0, n);
        }
    }
    const auto first =
        static_cast<std::size_t>(std::find(cuts.begin(), cuts.end(), warm_up) - cuts.begin());
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
        for (std::int64_t n = 0; n < kScanStates; ++n) {
            out.state_out(lane, index, n) = starts.back()(lane, 0, n);
            out.before_last(lane, index, n) = starts[first](lane, 0, n);
        }
    }
}

inline ScanResults scan_channels(Lab& lab,
                                 const ScanInputs& in,
                                 const std::vector<std::int64_t>& sampled,
                                 std::int64_t warm_up) {
    const auto count = static_cast<std::int64_t>(sampled.size());
    ScanResults out;
    out.y = out.dx = out.ddt_raw = out.dz = Array(in.at.shape(count));
    out.state_out = out.before_last = Array({in.at.lanes, count, kScanStates});
    out.da_log = Array({count, kScanStates});
    out.dd = Array({count});
    lab.threads().parallel_for(
        count, [&](std::int64_t index) { scan_channel(in, sampled, index, warm_up, out); });
    return out;
}

/// The last rows of the last lane, all channels.
inline ScanResults scan_last_rows(Lab& lab,
                                  const ScanInputs& in,
                                  const std::vector<std::int64_t>& sampled,
                                  std::int64_t warm_up,
                                  const Array& before_last) {
    constexpr std::int64_t kChannels = 32;  // of a task
    const std::int64_t lane = in.at.lanes - 1;
    const std::int64_t skipped = in.at.length - warm_up - kScanLastRows;
    ScanResults out;
    out.y = out.dx = out.ddt_raw = out.dz = Array({1, kScanLastRows, in.at.width});
    out.db = out.dc = Array({1, kScanLastRows, kScanStates});
    std::mutex mutex;  // of db and dc
    lab.threads().parallel_for((in.at.width + kChannels - 1) / kChannels, [&](std::int64_t task) {
        const std::int64_t first = task * kChannels;
        const std::int64_t end = std::min(first + kChannels, in.at.width);
        reference::SelectiveScan op =
            in.reference(lane, lane + 1, warm_up, in.at.length, range(first, end));
        op.state_in = Array({1, end - first, kScanStates});
        for (std::size_t i = 0; i < sampled.size(); ++i) {
            for (std::int64_t n = 0; sampled[i] >= first && sampled[i] < end && n < kScanStates;
                 ++n) {
                op.state_in(0, sampled[i] - first, n) = before_last(lane, i, n);
            }
        }
        reference::SelectiveScanGrad grad;
        grad.dy = in.dy.part(in.at, lane, lane + 1, warm_up, in.at.length, range(first, end));
        reference::forward(op);
        reference::backward(op, grad);
        const std::scoped_lock lock(mutex);
        for (std::int64_t t = 0; t < kScanLastRows; ++t) {
            for (std::int64_t e = first; e < end; ++e) {
                out.y(0, t, e) = op.y(0, skipped + t, e - first);
                out.dx(0, t, e) = grad.dx(0, skipped + t, e - first);
                out.ddt_raw(0, t, e) = grad.ddt_raw(0, skipped + t, e - first);
                out.dz(0, t, e) = grad.dz(0, skipped + t, e - first);
            }
            for (std::int64_t n = 0; n < kScanStates; ++n) {
                out.db(0, t, n) += grad.db(0, skipped + t, n);
                out.dc(0, t, n) += grad.dc(0, skipped + t, n);
            }
        }
    });
    return out;
}

/// The op's tensors there.
class LargeScan {
  public:
    LargeScan(Lab& lab, const ScanInputs& in)
        : lab_(lab),
          in_(in),
          a_log_(lab.up(in.a_log.view())),
          d_(lab.up(in.d.view())),
          dt_bias_(lab.up(in.dt_bias.view())),
          y(lab.make(lab.type(), in.at.shape(in.at.width))),
          state_out(lab.make(DType::f32, {in.at.lanes, in.at.width, kScanStates})) {}

    void forward(bool for_training, TensorView saved) {
        ops::SelectiveScan op = inputs<ops::SelectiveScan>();
        op.y = y.view();
        op.state_out = state_out.view();
        op.saved = saved;
        op.for_training = for_training;
        ops::selective_scan_forward(lab_.context(), op);
    }

    void backward(ConstTensorView saved) {
        const auto rows = [&](std::int64_t width) {
            return lab_.make(lab_.type(), in_.at.shape(width));
        };
        dx = rows(in_.at.width);
        ddt_raw = rows(in_.at.width);
        dz = rows(in_.at.width);
        db = rows(kScanStates);
        dc = rows(kScanStates);
        da_log = lab_.zeros(DType::f64, in_.a_log.shape());
        dd = lab_.zeros(DType::f64, in_.d.shape());
        ddt_bias = lab_.zeros(DType::f64, in_.d.shape());
        auto op = inputs<ops::SelectiveScanGrad>();
        op.saved = saved;
        op.dy = in_.dy.values.view();
        op.dx = dx.view();
        op.ddt_raw = ddt_raw.view();
        op.dz = dz.view();
        op.da_log = da_log.view();
        op.db = db.view();
        op.dc = dc.view();
        op.dd = dd.view();
        op.ddt_bias = ddt_bias.view();
        ops::selective_scan_backward(lab_.context(), op);
    }

  private:
    template <class Op>
    Op inputs() const {
        Op op;
        op.x = in_.x.values.view();
        op.dt_raw = in_.dt_raw.values.view();
        op.z = in_.z.values.view();
        op.b = in_.b.values.view();
        op.c = in_.c.values.view();
        op.a_log = a_log_.view();
        op.d = d_.view();
        op.dt_bias = dt_bias_.view();
        return op;
    }

    Lab& lab_;
    const ScanInputs& in_;
    Tensor a_log_, d_, dt_bias_;

  public:
    Tensor y, state_out, dx, ddt_raw, dz, db, dc, da_log, dd, ddt_bias;
};

/// dt_bias's gradient as the sum of its own addends, which are ddt_raw before it was rounded: of
/// random signs, they leave nothing that the reference's could be compared with.
inline Array summed_over_positions(const Array& values) {
    Array out({values.extent(2)});
    for (std::size_t i = 0; i < values.values.size(); ++i) {
        out.values[i % out.values.size()] += values.values[i];
    }
    return out;
}

inline void check_scan(Lab& lab, const Extents& at) {
    const std::vector<std::int64_t> sampled = {0, at.width / 2 - 1, at.width - 1};
    const std::int64_t warm_up = std::max<std::int64_t>(at.length - kScanLastRows - kScanWarmUp, 0);
    const ScanInputs in(lab, at, sampled);
    const ScanResults whole = scan_channels(lab, in, sampled, warm_up);
    const ScanResults last = scan_last_rows(lab, in, sampled, warm_up, whole.before_last);
    const Errors errors = lab.errors("selective_scan");
    const auto last_rows = [&](ConstTensorView view) {
        return lab.rows(view, at.rows() - kScanLastRows, at.rows());
    };
    const auto check = [&](const char* result, ConstTensorView view, const Array& of_sampled,
                           const Array& of_last, double bound) {
        errors.values(result, lab.channels(view, sampled), of_sampled, bound);
        errors.values(result, last_rows(view), of_last, bound);
    };
    LargeScan scan(lab, in);
    Tensor saved =
        lab.make(DType::u8, {ops::selective_scan_saved_bytes(lab.context().table, at.lanes,
                                                             at.length, at.width, kScanStates)});
    for (const bool for_training : {false, true}) {
        scan.forward(for_training, for_training ? saved.view() : TensorView());
        check("y", scan.y.view(), whole.y, last.y, forward_bound(lab.backend()));
        Array states(whole.state_out.shape);
        const Array all = lab.down(scan.state_out.view());
        for (std::int64_t lane = 0; lane < at.lanes; ++lane) {
            for (std::size_t i = 0; i < sampled.size(); ++i) {
                for (std::int64_t n = 0; n < kScanStates; ++n) {
                    states(lane, i, n) = all(lane, sampled[i], n);
                }
            }
        }
        errors.values("state_out", states, whole.state_out, kLongState);
    }
    scan.backward(saved.view());
    const double bound = scan_gradient_bound(lab.backend());
    check("dx", scan.dx.view(), whole.dx, last.dx, bound);
    check("ddt_raw", scan.ddt_raw.view(), whole.ddt_raw, last.ddt_raw, bound);
    check("dz", scan.dz.view(), whole.dz, last.dz, bound);
    errors.values("db", last_rows(scan.db.view()), last.db, bound);
    errors.values("dc", last_rows(scan.dc.view()), last.dc, bound);
    errors.norms("da_log", of_channels(lab.down(scan.da_log.view()), sampled), whole.da_log,
                 kLongScanSum);
    errors.norms("dd", of_channels(lab.down(scan.dd.view()), sampled), whole.dd, kLongScanSum);
    errors.norms("ddt_bias", of_channels(lab.down(scan.ddt_bias.view()), sampled),
                 summed_over_positions(lab.channels(scan.ddt_raw.view(), sampled)), kLongScanSum);
}

}  // namespace mambase::test::large
