// The CUDA selective scan, backward: checked against float64 at odd shapes, then timed by kernel.
// Over 500 lines because the float64 reference and the timings share one set of shapes.
//
//   nvcc -std=c++20 -O3 -I. --expt-relaxed-constexpr -gencode arch=compute_90,code=sm_90
//        tests/bench/cuda_scan_backward_bench.cu kernels/cuda/tile_sums.cu
//        kernels/cuda/cuda_check.cpp base/error.cpp base/text.cpp -o cuda_scan_backward_bench
//   cuda_scan_backward_bench [check | time | small | profile]
#include "kernels/cuda/selective_scan_backward.cuh"
#include "kernels/cuda/selective_scan_carry.cuh"
#include "kernels/cuda/selective_scan_sums.cuh"
#include "kernels/cuda/tile_sums.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

using namespace mambase::cuda;

#define TRY(call)                                                                               \
    do {                                                                                        \
        const cudaError_t error = (call);                                                       \
        if (error != cudaSuccess) {                                                             \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(error)); \
            std::exit(1);                                                                       \
        }                                                                                       \
    } while (false)

namespace {

struct Case {
    const char* name;
    std::int64_t B, T;
    int E, N;
    bool gate = true;
    int pad = 0;          // elements between rows
    bool packed = false;  // a border every 700 positions or so
    bool valid = false;   // lanes of several lengths, the last of none
    bool states = true;   // dstate_out and dstate_in
    float delta = 0.0F;   // 0: as at initialisation
};

__device__ float hash_uniform(std::uint64_t i, std::uint32_t seed) {
    std::uint64_t v = i * 0x9E3779B97F4A7C15ULL + seed * 0xD1B54A32D192ED03ULL;
    v ^= v >> 32;
    v *= 0xD6E8FEB86659FD93ULL;
    v ^= v >> 32;
    v *= 0xD6E8FEB86659FD93ULL;
    v ^= v >> 32;
    return static_cast<float>(v >> 40) * 0x1.0p-24F;
}

template <class T>
__global__ void fill(T* out, std::int64_t n, float scale, std::uint32_t seed) {
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
         i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
        out[i] = static_cast<T>((hash_uniform(i, seed) * 2.0F - 1.0F) * 1.732F * scale);
    }
}

/// What the forward pass leaves, one thread a state; writes exactly what it would write.
template <class T>
__global__ void keep_states(const ScanGradParams<T> g, const float* state_in, float* kept) {
    const ScanGradParams<T>& p = g;
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t per_lane = static_cast<std::int64_t>(p.inner) * g.kept_states;
    if (i >= g.batch * per_lane) {
        return;
    }
    const int b = static_cast<int>(i / per_lane);
    const int e = static_cast<int>(i % per_lane) / g.kept_states;
    const int n = static_cast<int>(i % g.kept_states);
    const bool there = n < p.states;
    const float a2 = there ? -expf(p.a_log[e * p.states + n]) * kLog2e : 0.0F;
    float h = there ? state_in[(static_cast<std::int64_t>(b) * p.inner + e) * p.states + n] : 0.0F;
    const std::int64_t kept_rows = (p.length + kKept - 1) / kKept;
    const std::int64_t end = valid_length(p.valid, b, p.length);
    for (std::int64_t t0 = 0; t0 < end; t0 += kKept) {
        kept[(b * kept_rows + t0 / kKept) * per_lane + i % per_lane] = h;
        float x[kKept];
        float r[kKept];
        float bn[kKept];
#pragma unroll
        for (int k = 0; k < kKept; ++k) {
            const std::int64_t t = min(t0 + k, end - 1);
            x[k] = to_float(p.x.row(b, t)[e]);
            r[k] = to_float(p.dt_raw.row(b, t)[e]);
            bn[k] = there ? to_float(p.b.row(b, t)[n]) : 0.0F;
        }
#pragma unroll
        for (int k = 0; k < kKept; ++k) {
            const std::int64_t t = t0 + k;
            if (t < end) {
                const float delta = softplus(r[k] + p.dt_bias[e]);
                float a = exp2f(delta * a2);
                if (p.segment != nullptr && t > 0) {
                    const std::int32_t* const ids = p.segment + b * p.segment_stride + t;
                    a = ids[0] != ids[-1] ? 0.0F : a;
                }
                h = fmaf(a, h, bn[k] * (delta * x[k]));
            }
        }
    }
}

template <class V>
V* device(std::int64_t n) {
    void* p = nullptr;
    TRY(cudaMalloc(&p, std::max<std::int64_t>(n, 1) * sizeof(V)));
    TRY(cudaMemset(p, 0xff, std::max<std::int64_t>(n, 1) * sizeof(V)));
    return static_cast<V*>(p);
}

template <class V>
void upload(V* to, const std::vector<V>& from) {
    TRY(cudaMemcpy(to, from.data(), from.size() * sizeof(V), cudaMemcpyHostToDevice));
}

template <class T>
struct Problem {
    Case c;
    int en, be, windows, tile, tiles, kept_states, row, bc_row;
    std::int64_t rows, stages, chunk_begin = 0;
    T *x, *dt, *z, *bc, *dy, *dx, *ddt, *dz, *dbc;
    float *a_log, *d, *bias, *state_in, *dstate_out, *dstate_in, *kept, *tile_dstate, *tile_delta,
        *bc_parts, *a_parts, *de_parts, *state_sums;
    double* gradients;  // da_log, dd, ddt_bias
    std::int32_t* segment;
    std::int64_t* valid;
    std::vector<void*> owned;

    template <class V>
    V* own(std::int64_t n) {
        V* const p = device<V>(n);
        owned.push_back(p);
        return p;
    }

    explicit Problem(const Case& c_) : c(c_) {
        en = c.E * c.N;
        rows = c.B * c.T;
        row = c.E + c.pad;
        bc_row = 2 * c.N + c.pad;
        windows = (c.E + kBackChannels - 1) / kBackChannels;
        tile = back_tile(c.T, false);
        tiles = static_cast<int>((c.T + tile - 1) / tile);
        kept_states = (c.N + kBackStates - 1) / kBackStates * kBackStates;
        stages = (c.T + kBackStage - 1) / kBackStage;
        for (T** p : {&x, &dt, &z, &dy, &dx, &ddt, &dz}) {
            *p = own<T>(rows * row);
        }
        bc = own<T>(rows * bc_row);
        dbc = own<T>(rows * bc_row);
        fill<<<1024, 256>>>(x, rows * row, 1.0F, 1);
        fill<<<1024, 256>>>(dt, rows * row, c.delta > 0 ? 0.0F : 0.1F, 2);
        fill<<<1024, 256>>>(z, rows * row, 1.0F, 3);
        fill<<<1024, 256>>>(bc, rows * bc_row, 1.0F, 4);
        fill<<<1024, 256>>>(dy, rows * row, 1.0F, 9);
        std::vector<float> a(en);
        std::vector<float> skip(c.E);
        std::vector<float> bb(c.E);
        for (int e = 0; e < c.E; ++e) {
            const double u = (e * 0.61803398875) - std::floor(e * 0.61803398875);
            const double dt0 =
                c.delta > 0 ? c.delta
                            : std::exp(u * (std::log(0.1) - std::log(1e-3)) + std::log(1e-3));
            bb[e] = static_cast<float>(dt0 + std::log(-std::expm1(-dt0)));
            skip[e] = 1.0F + 0.1F * static_cast<float>(e % 7);
            for (int n = 0; n < c.N; ++n) {
                a[e * c.N + n] = std::log(static_cast<float>(n % 16 + 1));
            }
        }
        a_log = own<float>(en);
        d = own<float>(c.E);
        bias = own<float>(c.E);
        upload(a_log, a);
        upload(d, skip);
        upload(bias, bb);
        state_in = own<float>(c.B * en);
        dstate_out = own<float>(c.B * en);
        dstate_in = own<float>(c.B * en);
        fill<<<64, 256>>>(state_in, c.B * en, 1.0F, 5);
        fill<<<64, 256>>>(dstate_out, c.B * en, 1.0F, 10);
        kept = own<float>(c.B * ((c.T + kKept - 1) / kKept) * c.E * kept_states);
        tile_dstate = own<float>(c.B * tiles * en);
        tile_delta = own<float>(c.B * tiles * c.E);
        bc_parts = own<float>(windows * c.B * stages * 2 * kBackStates * kBackStage);
        a_parts = own<float>(c.B * tiles * en);
        de_parts = own<float>(c.B * tiles * c.E * 2);
        state_sums = kept_states > kBackStates ? own<float>(3 * rows * c.E) : nullptr;
        gradients = own<double>(en + 2 * c.E);
        reset();
        std::vector<std::int32_t> ids(rows);
        for (std::int64_t i = 0; i < rows; ++i) {
            ids[i] = static_cast<std::int32_t>((i % c.T + 37 * (i / c.T)) / 701);
        }
        segment = own<std::int32_t>(rows);
        upload(segment, ids);
        std::vector<std::int64_t> lengths(c.B);
        for (std::int64_t b = 0; b < c.B; ++b) {
            lengths[b] = b + 1 == c.B && c.B > 1 ? 0 : std::max<std::int64_t>(c.T - 777 * b, 1);
        }
        valid = own<std::int64_t>(c.B);
        upload(valid, lengths);
        const ScanGradParams<T> g = params();
        keep_states<<<static_cast<unsigned>((c.B * c.E * kept_states + 127) / 128), 128>>>(
            g, state_in, kept);
        TRY(cudaGetLastError());
        TRY(cudaDeviceSynchronize());
    }
    ~Problem() {
        for (void* p : owned) {
            cudaFree(p);
        }
    }

    void reset() {
        upload(gradients, std::vector<double>(en + 2 * c.E, 1.0));
        for (T* p : {dx, ddt, dz}) {
            TRY(cudaMemset(p, 0xff, rows * row * sizeof(T)));
        }
        TRY(cudaMemset(dbc, 0xff, rows * bc_row * sizeof(T)));
    }

    /// Positions [begin, begin + length) as a call of their own.
    ScanGradParams<T> params(std::int64_t begin = 0, std::int64_t length = -1) const {
        const std::int64_t n = length < 0 ? c.T : length;
        ScanGradParams<T> g{};
        const auto rows_of = [&](T* p) { return LaneRows<T>{p + begin * row, c.T * row, row}; };
        const auto in_rows = [&](const T* p) {
            return LaneRows<const T>{p + begin * row, c.T * row, row};
        };
        g.x = in_rows(x);
        g.dt_raw = in_rows(dt);
        g.z = c.gate ? in_rows(z) : LaneRows<const T>{};
        g.b = {bc + begin * bc_row, c.T * bc_row, bc_row};
        g.c = {bc + begin * bc_row + c.N, c.T * bc_row, bc_row};
        g.a_log = a_log;
        g.d = d;
        g.dt_bias = bias;
        g.segment = c.packed ? segment + begin : nullptr;
        g.segment_stride = c.T;
        g.valid = c.valid ? valid : nullptr;
        g.length = n;
        g.inner = c.E;
        g.states = c.N;
        g.dy = in_rows(dy);
        g.dx = rows_of(dx);
        g.ddt_raw = rows_of(ddt);
        g.dz = c.gate ? rows_of(dz) : LaneRows<T>{};
        g.kept = kept;
        g.dstate_out = c.states ? dstate_out : nullptr;
        g.dstate_in = c.states ? dstate_in : nullptr;
        g.tile_dstate = tile_dstate;
        g.tile_delta = tile_delta;
        g.bc_parts = bc_parts;
        g.a_parts = a_parts;
        g.de_parts = de_parts;
        g.state_sums = state_sums;
        g.batch = static_cast<int>(c.B);
        g.stages = (n + kBackStage - 1) / kBackStage;
        g.tile = tile;
        g.tiles = static_cast<int>((n + tile - 1) / tile);
        g.first_carry_tile = g.dstate_in != nullptr ? 0 : 1;
        g.windows = windows;
        g.kept_states = kept_states;
        return g;
    }

    bool vector() const { return c.E % 8 == 0 && row % 8 == 0 && bc_row % 8 == 0 && c.N == 16; }

    void run(const ScanGradParams<T>& g, int part) const {
        if (vector()) {
            run_as<true>(g, part);
        } else {
            run_as<false>(g, part);
        }
    }

    /// part 0: all; 1 carry, 2 combine, 3 main, 4 sums of db and dc, 5 sums of parameters.
    template <bool kVector>
    void run_as(ScanGradParams<T> g, int part) const {
        const auto blocks = [](std::int64_t n, std::int64_t by) {
            return static_cast<unsigned>((n + by - 1) / by);
        };
        const auto is = [&](int one) { return part == 0 || part == one; };
        TRY(cudaFuncSetAttribute((selective_scan_backward_kernel<T, kVector>),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 sizeof(BackShared<T>)));
        if (g.tiles > g.first_carry_tile && is(1)) {
            int multiprocessors = 0;
            TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
            launch_scan_carry<T, kVector>(g, multiprocessors, nullptr);
        }
        if (g.tiles == 1 && g.dstate_in == nullptr) {
            g.tile_dstate = const_cast<float*>(g.dstate_out);
        } else if (is(2)) {
            selective_scan_combine_carry_kernel<T><<<blocks(c.B * en, 256), 256>>>(g);
        }
        const LaneRows<T> db{dbc + (g.b.data - bc), c.T * bc_row, bc_row};
        const LaneRows<T> dc{dbc + (g.c.data - bc), c.T * bc_row, bc_row};
        for (g.first_state = 0; g.first_state < c.N; g.first_state += kBackStates) {
            if (is(3)) {
                selective_scan_backward_kernel<T, kVector>
                    <<<static_cast<unsigned>(c.B * g.tiles * windows), kBackThreads,
                       sizeof(BackShared<T>)>>>(g);
            }
            if (is(4)) {
                selective_scan_sum_bc_kernel<T>
                    <<<static_cast<unsigned>(c.B * g.stages), 128>>>(g, db, dc);
            }
        }
        if (is(5)) {
            PartSums sums{};
            sums.lanes = c.B;
            sums.lane_parts = g.tiles;
            sums.rows = tile;
            sums.parts = a_parts;
            sums.count = en;
            sums.out = gradients;
            sums.split = en;
            add_part_sums("scan", sums, nullptr);
            sums.parts = de_parts;
            sums.count = 2 * c.E;
            sums.out = gradients + en;
            sums.split = c.E;
            sums.rest = gradients + en + c.E;
            add_part_sums("scan", sums, nullptr);
        }
        TRY(cudaGetLastError());
    }
};

template <class T>
std::vector<double> host(const T* from, std::int64_t n) {
    std::vector<T> raw(n);
    TRY(cudaMemcpy(raw.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost));
    std::vector<double> out(n);
    for (std::int64_t i = 0; i < n; ++i) {
        if constexpr (sizeof(T) == 2) {
            out[i] = static_cast<double>(static_cast<float>(raw[i]));
        } else {
            out[i] = static_cast<double>(raw[i]);
        }
    }
    return out;
}

/// Largest difference over largest value; elements between rows are not compared.
double relative(const std::vector<double>& got,
                const std::vector<double>& want,
                std::int64_t stride = 1,
                std::int64_t width = 1) {
    double worst = 0;
    double largest = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        if (static_cast<std::int64_t>(i) % stride >= width) {
            continue;
        }
        const double d = std::abs(got[i] - want[i]);
        worst = std::max(worst, std::isnan(d) ? 1e30 : d);
        largest = std::max(largest, std::abs(want[i]));
    }
    return largest > 0 ? worst / largest : worst;
}

double relative_norm(const double* got, const double* want, std::int64_t n) {
    double worst = 0;
    double all = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        worst += (got[i] - want[i]) * (got[i] - want[i]);
        all += want[i] * want[i];
    }
    return std::sqrt(worst / all);
}

template <class T>
void check(const Case& c) {
    Problem<T> s(c);
    s.run(s.params(), 0);
    TRY(cudaDeviceSynchronize());
    const int N = c.N;
    const std::int64_t E = c.E;
    const auto x = host(s.x, s.rows * s.row), dt = host(s.dt, s.rows * s.row),
               z = host(s.z, s.rows * s.row), bc = host(s.bc, s.rows * s.bc_row),
               dy = host(s.dy, s.rows * s.row);
    const auto al = host(s.a_log, s.en), skip = host(s.d, E), bias = host(s.bias, E),
               h0 = host(s.state_in, c.B * s.en), dho = host(s.dstate_out, c.B * s.en);
    const auto ids = host(s.segment, s.rows), lengths = host(s.valid, c.B);
    std::vector<double> dx(s.rows * s.row), ddt(s.rows * s.row), dz(s.rows * s.row),
        dbc(s.rows * s.bc_row), grad(s.en + 2 * E, 1.0), dhi(c.B * s.en);
    std::vector<double> hist((c.T + 1) * N), as(c.T * N);
    for (std::int64_t b = 0; b < c.B; ++b) {
        const std::int64_t end = c.valid ? static_cast<std::int64_t>(lengths[b]) : c.T;
        for (std::int64_t e = 0; e < E; ++e) {
            for (int n = 0; n < N; ++n) {
                hist[n] = h0[(b * E + e) * N + n];
            }
            for (std::int64_t t = 0; t < end; ++t) {
                const std::int64_t i = (b * c.T + t) * s.row + e;
                const double delta = std::log1p(std::exp(dt[i] + bias[e]));
                const bool border = c.packed && t > 0 && ids[b * c.T + t] != ids[b * c.T + t - 1];
                for (int n = 0; n < N; ++n) {
                    as[t * N + n] = border ? 0 : std::exp(-delta * std::exp(al[e * N + n]));
                    hist[(t + 1) * N + n] = as[t * N + n] * hist[t * N + n] +
                                            delta * x[i] * bc[(b * c.T + t) * s.bc_row + n];
                }
            }
            double carry[64];
            for (int n = 0; n < N; ++n) {
                carry[n] = c.states ? dho[(b * E + e) * N + n] : 0;
            }
            for (std::int64_t t = end - 1; t >= 0; --t) {
                const std::int64_t i = (b * c.T + t) * s.row + e;
                const std::int64_t j = (b * c.T + t) * s.bc_row;
                const double r = dt[i] + bias[e];
                const double delta = std::log1p(std::exp(r));
                const double sg = 1 / (1 + std::exp(-z[i]));
                double y = skip[e] * x[i];
                for (int n = 0; n < N; ++n) {
                    y += bc[j + N + n] * hist[(t + 1) * N + n];
                }
                const double dg = c.gate ? dy[i] * z[i] * sg : dy[i];
                dz[i] = dy[i] * y * sg * (1 + z[i] * (1 - sg));
                grad[s.en + e] += dg * x[i];
                double du = 0;
                double dd = 0;
                for (int n = 0; n < N; ++n) {
                    const double A = -std::exp(al[e * N + n]);
                    const double gn = bc[j + N + n] * dg + carry[n];
                    const double ah = as[t * N + n] * hist[t * N + n];
                    du += bc[j + n] * gn;
                    dd += gn * (bc[j + n] * x[i] + A * ah);
                    grad[e * N + n] += gn * delta * ah * A;
                    dbc[j + n] += gn * delta * x[i];
                    dbc[j + N + n] += dg * hist[(t + 1) * N + n];
                    carry[n] = as[t * N + n] * gn;
                }
                dx[i] = skip[e] * dg + delta * du;
                ddt[i] = dd / (1 + std::exp(-r));
                grad[s.en + E + e] += ddt[i];
            }
            for (int n = 0; n < N; ++n) {
                dhi[(b * E + e) * N + n] = carry[n];
            }
        }
    }
    const auto got = host(s.gradients, s.en + 2 * E);
    std::printf(
        "check %-34s dx %.1e ddt %.1e dz %.1e dbc %.1e dA %.1e dD %.1e dbias %.1e dstate %.1e\n",
        c.name, relative(host(s.dx, s.rows * s.row), dx, s.row, E),
        relative(host(s.ddt, s.rows * s.row), ddt, s.row, E),
        c.gate ? relative(host(s.dz, s.rows * s.row), dz, s.row, E) : 0.0,
        relative(host(s.dbc, s.rows * s.bc_row), dbc, s.bc_row, 2 * N),
        relative_norm(got.data(), grad.data(), s.en),
        relative_norm(got.data() + s.en, grad.data() + s.en, E),
        relative_norm(got.data() + s.en + E, grad.data() + s.en + E, E),
        c.states ? relative(host(s.dstate_in, c.B * s.en), dhi) : 0.0);
}

/// Whether two calls over chunks of whole tiles, from right to left, give the bits of one call.
template <class T>
void check_chunks(const Case& c) {
    Problem<T> s(c);
    s.run(s.params(), 0);
    const auto all = [&] {
        std::vector<std::vector<double>> v = {
            host(s.dx, s.rows * s.row),        host(s.ddt, s.rows * s.row),
            host(s.dz, s.rows * s.row),        host(s.dbc, s.rows * s.bc_row),
            host(s.gradients, s.en + 2 * c.E), host(s.dstate_in, c.B * s.en)};
        return v;
    };
    const auto whole = all();
    s.reset();
    const std::int64_t border = kGradientTile;
    const std::int64_t kept_row = static_cast<std::int64_t>(c.E) * s.kept_states;
    const std::int64_t kept_rows = (c.T + kKept - 1) / kKept;
    float* const kept = s.template own<float>(c.B * kept_rows * kept_row);
    const auto run_chunk = [&](std::int64_t begin, std::int64_t length, const float* dstate_out) {
        ScanGradParams<T> g = s.params(begin, length);
        g.dstate_out = dstate_out;
        const std::int64_t part = (length + kKept - 1) / kKept * kept_row;
        TRY(cudaMemcpy2D(kept, part * 4, s.kept + begin / kKept * kept_row,
                         kept_rows * kept_row * 4, part * 4, c.B, cudaMemcpyDeviceToDevice));
        g.kept = kept;
        s.run(g, 0);
    };
    run_chunk(border, c.T - border, s.dstate_out);
    run_chunk(0, border, s.dstate_in);  // in place
    const auto chunked = all();
    bool same = true;
    for (std::size_t k = 0; k < whole.size(); ++k) {
        same = same && std::memcmp(whole[k].data(), chunked[k].data(), whole[k].size() * 8) == 0;
    }
    std::printf("chunks %-33s %s\n", c.name, same ? "same bits" : "DIFFERENT");
}

template <class F>
float median_ms(F run) {
    cudaEvent_t a;
    cudaEvent_t b;
    TRY(cudaEventCreate(&a));
    TRY(cudaEventCreate(&b));
    std::vector<float> times;
    for (int i = 0; i < 13; ++i) {
        TRY(cudaEventRecord(a));
        run();
        TRY(cudaEventRecord(b));
        TRY(cudaEventSynchronize(b));
        float ms = 0;
        TRY(cudaEventElapsedTime(&ms, a, b));
        if (i >= 3) {
            times.push_back(ms);
        }
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

template <class T>
void time_case(const Case& c) {
    Problem<T> s(c);
    const ScanGradParams<T> g = s.params();
    float ms[6];
    for (int part = 0; part < 6; ++part) {
        ms[part] = median_ms([&] { s.run(g, part); });
    }
    std::printf(
        "time  %-24s %6.2f ms  (carry %.2f combine %.2f main %.2f db,dc %.2f parameters %.2f)\n",
        c.name, ms[0], ms[1], ms[2], ms[3], ms[4], ms[5]);
}

}  // namespace

int main(int argc, char** argv) {
    using H = __nv_bfloat16;
    const bool checks = argc < 2 || std::strcmp(argv[1], "check") == 0;
    const bool times = argc < 2 || std::strcmp(argv[1], "time") == 0;
    const bool small = argc >= 2 && std::strcmp(argv[1], "small") == 0;
    if (checks) {
        const Case cases[] = {
            {"2x8200x136 N16", 2, 8200, 136, 16},
            {"1x1000x64 N16 no gate", 1, 1000, 64, 16, false},
            {"3x2300x77 N16 packed valid", 3, 2300, 77, 16, true, 3, true, true},
            {"2x2500x40 N8 packed padded", 2, 2500, 40, 8, true, 8, true},
            {"1x2100x24 N5", 1, 2100, 24, 5, false, 1},
            {"2x4500x24 N40 valid", 2, 4500, 24, 40, true, 0, false, true},
            {"4x1x8 N16", 4, 1, 8, 16},
            {"2x6000x64 N16 no states", 2, 6000, 64, 16, true, 0, false, false, false},
        };
        for (const Case& c : cases) {
            std::printf("f32  ");
            check<float>(c);
            std::printf("bf16 ");
            check<H>(c);
        }
        check_chunks<float>({"f32 2x20000x72 N16", 2, 20000, 72, 16});
        check_chunks<H>({"bf16 1x20000x72 N16 packed", 1, 20000, 72, 16, true, 0, true});
    }
    if (small) {  // for compute-sanitizer
        check<float>({"f32 2x300x77 N16 packed", 2, 300, 77, 16, true, 3, true});
        check<H>({"bf16 2x2100x72 N16 valid", 2, 2100, 72, 16, true, 0, true, true});
        check<H>({"bf16 1x100x24 N40", 1, 100, 24, 40});
    }
    if (argc >= 2 && std::strcmp(argv[1], "profile") == 0) {
        Problem<H> s({"bf16 1x512x2^17", 1, 1 << 17, 512, 16});
        s.run(s.params(), 0);
        TRY(cudaDeviceSynchronize());
    }
    if (times) {
        time_case<H>({"bf16 1x512x2^20", 1, 1 << 20, 512, 16, true, 0, false, false, false});
        time_case<H>(
            {"bf16 1x512x2^20 d1e-3", 1, 1 << 20, 512, 16, true, 0, false, false, false, 1e-3F});
        time_case<H>({"bf16 1x512x2^17", 1, 1 << 17, 512, 16, true, 0, false, false, false});
        time_case<H>({"bf16 64x512x2^14", 64, 1 << 14, 512, 16, true, 0, false, false, false});
        time_case<H>({"bf16 1024x512x2^10", 1024, 1 << 10, 512, 16, true, 0, false, false, false});
    }
    return 0;
}
