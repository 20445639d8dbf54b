// Workshop of the CUDA selective scan: checks a variant against float64 on sampled channels, then
// Over 500 lines because it is a workshop still: to be split when the launcher is written.
// times it.
#include "kernels/cuda/selective_scan_backward.cuh"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
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

template <class T>
struct Buffers {
    std::int64_t B, L;
    int E, N;
    T *x, *dt, *z, *bc, *y;
    float *a_log, *d, *bias, *state_in, *state_out, *tile_state, *tile_delta;
    int tiles;

    Buffers(std::int64_t B_, std::int64_t L_, int E_, int N_, float delta)
        : B(B_), L(L_), E(E_), N(N_) {
        const std::int64_t rows = B * L;
        tiles = static_cast<int>((L + kScanTile - 1) / kScanTile);
        TRY(cudaMalloc(&x, rows * E * sizeof(T)));
        TRY(cudaMalloc(&dt, rows * E * sizeof(T)));
        TRY(cudaMalloc(&z, rows * E * sizeof(T)));
        TRY(cudaMalloc(&y, rows * E * sizeof(T)));
        TRY(cudaMalloc(&bc, rows * 2 * N * sizeof(T)));
        fill<<<1024, 256>>>(x, rows * E, 1.0F, 1);
        fill<<<1024, 256>>>(dt, rows * E, delta > 0 ? 0.0F : 0.1F, 2);
        fill<<<1024, 256>>>(z, rows * E, 1.0F, 3);
        fill<<<1024, 256>>>(bc, rows * 2 * N, 1.0F, 4);
        std::vector<float> a(static_cast<std::size_t>(E) * N);
        std::vector<float> dd(E, 1.0F);
        std::vector<float> bb(E);
        for (int e = 0; e < E; ++e) {
            const double u = (e * 0.61803398875) - std::floor(e * 0.61803398875);
            const double dt0 =
                delta > 0 ? delta : std::exp(u * (std::log(0.1) - std::log(1e-3)) + std::log(1e-3));
            bb[e] = static_cast<float>(dt0 + std::log(-std::expm1(-dt0)));
            for (int n = 0; n < N; ++n) {
                a[static_cast<std::size_t>(e) * N + n] = std::log(static_cast<float>(n + 1));
            }
        }
        TRY(cudaMalloc(&a_log, a.size() * 4));
        TRY(cudaMalloc(&d, E * 4));
        TRY(cudaMalloc(&bias, E * 4));
        TRY(cudaMemcpy(a_log, a.data(), a.size() * 4, cudaMemcpyHostToDevice));
        TRY(cudaMemcpy(d, dd.data(), E * 4, cudaMemcpyHostToDevice));
        TRY(cudaMemcpy(bias, bb.data(), E * 4, cudaMemcpyHostToDevice));
        TRY(cudaMalloc(&state_in, B * E * N * 4));
        TRY(cudaMalloc(&state_out, B * E * N * 4));
        fill<<<64, 256>>>(state_in, B * E * N, 1.0F, 5);
        TRY(cudaMalloc(&tile_state, B * tiles * E * N * 4));
        TRY(cudaMalloc(&tile_delta, B * tiles * E * 4));
        TRY(cudaMemset(y, 0xff, rows * E * sizeof(T)));
        TRY(cudaDeviceSynchronize());
    }
    ~Buffers() {
        for (void* p : {static_cast<void*>(x), static_cast<void*>(dt), static_cast<void*>(z),
                        static_cast<void*>(bc), static_cast<void*>(y), static_cast<void*>(a_log),
                        static_cast<void*>(d), static_cast<void*>(bias),
                        static_cast<void*>(state_in), static_cast<void*>(state_out),
                        static_cast<void*>(tile_state), static_cast<void*>(tile_delta)}) {
            cudaFree(p);
        }
    }
    ScanParams<T> params() const {
        ScanParams<T> p{};
        p.x = {x, L * E, E};
        p.dt_raw = {dt, L * E, E};
        p.z = {z, L * E, E};
        p.b = {bc, L * 2 * N, 2 * N};
        p.c = {bc + N, L * 2 * N, 2 * N};
        p.y = {y, L * E, E};
        p.a_log = a_log;
        p.d = d;
        p.dt_bias = bias;
        p.state_in = state_in;
        p.state_out = state_out;
        p.tile_state = tiles > 1 ? tile_state : nullptr;
        p.tile_delta = tile_delta;
        p.length = L;
        p.tiles = tiles;
        p.inner = E;
        p.states = N;
        return p;
    }
};

template <class T, int Channels>
void forward(const Buffers<T>& s, int part) {
    const ScanParams<T> p = s.params();
    const unsigned blocks =
        static_cast<unsigned>((s.E + kScanThreads * Channels - 1) / (kScanThreads * Channels));
    if (s.tiles > 1 && (part == 0 || part == 1)) {
        constexpr int kBytes = end_shared_bytes<T, 16>();
        TRY(cudaFuncSetAttribute(selective_scan_tile_end_kernel<T, 16, true>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
        selective_scan_tile_end_kernel<T, 16, true>
            <<<dim3(s.tiles - 1, static_cast<unsigned>((s.E + kEndWindow - 1) / kEndWindow),
                    static_cast<unsigned>(s.B)),
               kEndThreads, kBytes>>>(p);
    }
    if (s.tiles > 1 && (part == 0 || part == 2)) {
        selective_scan_combine_kernel<T>
            <<<static_cast<unsigned>((s.B * s.E * s.N + 255) / 256), 256>>>(p,
                                                                            static_cast<int>(s.B));
    }
    if (part == 0 || part == 3) {
        selective_scan_forward_kernel<T, 16, Channels, true, false>
            <<<dim3(s.tiles, blocks, static_cast<unsigned>(s.B)), kScanThreads>>>(p);
    }
    TRY(cudaGetLastError());
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
void check(const char* what, const Buffers<T>& s) {
    const std::int64_t rows = s.B * s.L;
    std::vector<T> bc(static_cast<std::size_t>(rows) * 2 * s.N);
    TRY(cudaMemcpy(bc.data(), s.bc, bc.size() * sizeof(T), cudaMemcpyDeviceToHost));
    std::vector<float> a(static_cast<std::size_t>(s.E) * s.N);
    std::vector<float> bias(s.E);
    std::vector<float> h0(static_cast<std::size_t>(s.B) * s.E * s.N);
    std::vector<float> h1(h0.size());
    TRY(cudaMemcpy(a.data(), s.a_log, a.size() * 4, cudaMemcpyDeviceToHost));
    TRY(cudaMemcpy(bias.data(), s.bias, bias.size() * 4, cudaMemcpyDeviceToHost));
    TRY(cudaMemcpy(h0.data(), s.state_in, h0.size() * 4, cudaMemcpyDeviceToHost));
    TRY(cudaMemcpy(h1.data(), s.state_out, h1.size() * 4, cudaMemcpyDeviceToHost));
    double worst = 0;
    double largest = 0;
    double worst_state = 0;
    double largest_state = 0;
    std::vector<T> x(s.L);
    std::vector<T> dt(s.L);
    std::vector<T> z(s.L);
    std::vector<T> y(s.L);
    for (const std::int64_t b : {std::int64_t{0}, s.B - 1}) {
        for (const int e : {0, 1, 2, 129, 333, s.E - 1}) {
            if (e >= s.E) {
                continue;
            }
            const auto column = [&](T* to, const T* from) {
                TRY(cudaMemcpy2D(to, sizeof(T), from + b * s.L * s.E + e, s.E * sizeof(T),
                                 sizeof(T), s.L, cudaMemcpyDeviceToHost));
            };
            column(x.data(), s.x);
            column(dt.data(), s.dt);
            column(z.data(), s.z);
            column(y.data(), s.y);
            std::vector<double> h(s.N);
            for (int n = 0; n < s.N; ++n) {
                h[n] = h0[(static_cast<std::size_t>(b) * s.E + e) * s.N + n];
            }
            for (std::int64_t t = 0; t < s.L; ++t) {
                const double r = static_cast<double>(static_cast<float>(dt[t])) + bias[e];
                const double delta = r <= 20 ? std::log1p(std::exp(r)) : r;
                const double xv = static_cast<float>(x[t]);
                double out = xv;
                for (int n = 0; n < s.N; ++n) {
                    const double bn = static_cast<float>(bc[(b * s.L + t) * 2 * s.N + n]);
                    const double cn = static_cast<float>(bc[(b * s.L + t) * 2 * s.N + s.N + n]);
                    h[n] = std::exp(-delta * std::exp(static_cast<double>(
                                                 a[static_cast<std::size_t>(e) * s.N + n]))) *
                               h[n] +
                           delta * bn * xv;
                    out += cn * h[n];
                }
                const double zv = static_cast<float>(z[t]);
                out *= zv / (1.0 + std::exp(-zv));
                const double diff = std::abs(out - static_cast<double>(static_cast<float>(y[t])));
                worst = std::max(worst, std::isnan(diff) ? 1e30 : diff);
                largest = std::max(largest, std::abs(out));
            }
            for (int n = 0; n < s.N; ++n) {
                const double got = h1[(static_cast<std::size_t>(b) * s.E + e) * s.N + n];
                const double diff = std::abs(got - h[n]);
                worst_state = std::max(worst_state, std::isnan(diff) ? 1e30 : diff);
                largest_state = std::max(largest_state, std::abs(h[n]));
            }
        }
    }
    std::printf("check %-28s y %.2e  state %.2e\n", what, worst / largest,
                worst_state / largest_state);
}

template <class T, int Channels>
void bench(const char* name, std::int64_t B, std::int64_t L, int E, float delta) {
    Buffers<T> s(B, L, E, 16, delta);
    forward<T, Channels>(s, 0);
    TRY(cudaDeviceSynchronize());
    const float all = median_ms([&] { forward<T, Channels>(s, 0); });
    const float ends = median_ms([&] { forward<T, Channels>(s, 1); });
    const float combine = median_ms([&] { forward<T, Channels>(s, 2); });
    forward<T, Channels>(s, 1);
    const float scan = median_ms([&] { forward<T, Channels>(s, 3); });
    std::printf("time  %-28s %6.2f ms  (ends %.2f combine %.2f scan %.2f)\n", name, all, ends,
                combine, scan);
}

template <class T, int Channels>
void checked(const char* name, std::int64_t B, std::int64_t L, int E, float delta) {
    Buffers<T> s(B, L, E, 16, delta);
    forward<T, Channels>(s, 0);
    TRY(cudaDeviceSynchronize());
    check(name, s);
}

template <class T>
struct GradBuffers {
    T *dy, *dx, *ddt, *dz, *dbc;
    float *kept, *own, *tile_delta, *dstate_in, *dstate_out, *bc, *ap, *dep;
    int blocks;
    explicit GradBuffers(const Buffers<T>& s) {
        const std::int64_t rows = s.B * s.L;
        blocks = (s.E + kBackChannels - 1) / kBackChannels;
        TRY(cudaMalloc(&dy, rows * s.E * sizeof(T)));
        TRY(cudaMalloc(&dx, rows * s.E * sizeof(T)));
        TRY(cudaMalloc(&ddt, rows * s.E * sizeof(T)));
        TRY(cudaMalloc(&dz, rows * s.E * sizeof(T)));
        TRY(cudaMalloc(&dbc, rows * 2 * s.N * sizeof(T)));
        fill<<<1024, 256>>>(dy, rows * s.E, 1.0F, 9);
        TRY(cudaMemset(dx, 0xff, rows * s.E * sizeof(T)));
        TRY(cudaMemset(ddt, 0xff, rows * s.E * sizeof(T)));
        TRY(cudaMemset(dz, 0xff, rows * s.E * sizeof(T)));
        TRY(cudaMemset(dbc, 0xff, rows * 2 * s.N * sizeof(T)));
        const std::int64_t en = static_cast<std::int64_t>(s.E) * s.N;
        TRY(cudaMalloc(&kept, s.B * ((s.L + kKept - 1) / kKept) * en * 4));
        TRY(cudaMalloc(&own, s.B * s.tiles * en * 4));
        TRY(cudaMalloc(&tile_delta, s.B * s.tiles * s.E * 4));
        TRY(cudaMalloc(&dstate_in, s.B * en * 4));
        TRY(cudaMalloc(&dstate_out, s.B * en * 4));
        fill<<<64, 256>>>(dstate_out, s.B * en, 1.0F, 10);
        TRY(cudaMalloc(&bc, blocks * rows * 2 * s.N * 4));
        TRY(cudaMalloc(&ap, s.B * s.tiles * en * 4));
        TRY(cudaMalloc(&dep, s.B * s.tiles * s.E * 2 * 4));
        TRY(cudaDeviceSynchronize());
    }
    ~GradBuffers() {
        for (void* p : {static_cast<void*>(dy), static_cast<void*>(dx), static_cast<void*>(ddt),
                        static_cast<void*>(dz), static_cast<void*>(dbc), static_cast<void*>(kept),
                        static_cast<void*>(own), static_cast<void*>(tile_delta),
                        static_cast<void*>(dstate_in), static_cast<void*>(dstate_out),
                        static_cast<void*>(bc), static_cast<void*>(ap), static_cast<void*>(dep)}) {
            cudaFree(p);
        }
    }
};

template <class T>
void forward_keep(const Buffers<T>& s, const GradBuffers<T>& g) {
    ScanParams<T> p = s.params();
    p.kept = g.kept;
    const unsigned blocks =
        static_cast<unsigned>((s.E + kScanThreads * 2 - 1) / (kScanThreads * 2));
    selective_scan_forward_kernel<T, 16, 2, true, false, true>
        <<<dim3(s.tiles, blocks, static_cast<unsigned>(s.B)), kScanThreads>>>(p);
    TRY(cudaGetLastError());
}

template <class T>
void backward(const Buffers<T>& s, const GradBuffers<T>& g, int part) {
    ScanGradParams<T> p{};
    p.in = s.params();
    p.dy = {g.dy, s.L * s.E, s.E};
    p.dx = {g.dx, s.L * s.E, s.E};
    p.ddt_raw = {g.ddt, s.L * s.E, s.E};
    p.dz = {g.dz, s.L * s.E, s.E};
    p.kept = g.kept;
    p.dstate_out = g.dstate_out;
    p.tile_dstate_own = g.own;
    p.tile_delta = g.tile_delta;
    p.dstate_in = g.dstate_in;
    p.bc_partial = g.bc;
    p.a_partial = g.ap;
    p.de_partial = g.dep;
    p.batch = static_cast<int>(s.B);
    if (s.tiles > 1 && (part == 0 || part == 1)) {
        constexpr int kBytes = static_cast<int>(2 * sizeof(StartStage<T>) + 2 * kEndStage * 16 * 4);
        TRY(cudaFuncSetAttribute(selective_scan_tile_gradient_kernel<T, 16, true>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
        selective_scan_tile_gradient_kernel<T, 16, true>
            <<<dim3(s.tiles - 1, static_cast<unsigned>((s.E + kEndWindow - 1) / kEndWindow),
                    static_cast<unsigned>(s.B)),
               kEndThreads, kBytes>>>(p);
    }
    if (part == 0 || part == 2) {
        selective_scan_combine_gradient_kernel<T>
            <<<static_cast<unsigned>((s.B * s.E * s.N + 255) / 256), 256>>>(p);
    }
    if (part == 0 || part == 3) {
        TRY(cudaFuncSetAttribute(selective_scan_backward_kernel<T, 16, true>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(BackShared)));
        selective_scan_backward_kernel<T, 16, true>
            <<<dim3(s.tiles, g.blocks, static_cast<unsigned>(s.B)), kBackThreads,
               sizeof(BackShared)>>>(p);
    }
    if (part == 0 || part == 4) {
        selective_scan_sum_bc_kernel<T><<<2048, 256>>>(g.bc, g.blocks, s.B * s.L, s.L, 16, 16,
                                                       Rows<T>{g.dbc, s.L * 32, 32},
                                                       Rows<T>{g.dbc + 16, s.L * 32, 32});
    }
    TRY(cudaGetLastError());
}

template <class T>
std::vector<double> host(const T* from, std::int64_t n) {
    std::vector<T> raw(n);
    TRY(cudaMemcpy(raw.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost));
    std::vector<double> out(n);
    for (std::int64_t i = 0; i < n; ++i) {
        out[i] = static_cast<float>(raw[i]);
    }
    return out;
}

double relative(const std::vector<double>& got, const std::vector<double>& want) {
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        const double d = std::abs(got[i] - want[i]);
        worst = std::max(worst, std::isnan(d) ? 1e30 : d);
        largest = std::max(largest, std::abs(want[i]));
    }
    return worst / largest;
}

template <class T>
void check_backward(const char* name, std::int64_t B, std::int64_t L, int E) {
    Buffers<T> s(B, L, E, 16, 0);
    GradBuffers<T> g(s);
    forward<T, 2>(s, 0);
    forward_keep(s, g);
    backward(s, g, 0);
    TRY(cudaDeviceSynchronize());
    const int N = 16;
    const auto x = host(s.x, B * L * E), dt = host(s.dt, B * L * E), z = host(s.z, B * L * E),
               bc = host(s.bc, B * L * 32), dy = host(g.dy, B * L * E);
    const auto al = host(s.a_log, E * N), bias = host(s.bias, E), h0 = host(s.state_in, B * E * N),
               dho = host(g.dstate_out, B * E * N);
    std::vector<double> dx(B * L * E), ddt(B * L * E), dz(B * L * E), dbc(B * L * 32), dA(E * N),
        dD(E), dB(E), dhi(B * E * N);
    std::vector<double> hist((L + 1) * N), as(L * N);
    for (std::int64_t b = 0; b < B; ++b) {
        for (int e = 0; e < E; ++e) {
            for (int n = 0; n < N; ++n) {
                hist[n] = h0[(b * E + e) * N + n];
            }
            for (std::int64_t t = 0; t < L; ++t) {
                const std::int64_t i = (b * L + t) * E + e;
                const double delta = std::log1p(std::exp(dt[i] + bias[e]));
                for (int n = 0; n < N; ++n) {
                    as[t * N + n] = std::exp(-delta * std::exp(al[e * N + n]));
                    hist[(t + 1) * N + n] =
                        as[t * N + n] * hist[t * N + n] + delta * x[i] * bc[(b * L + t) * 32 + n];
                }
            }
            double carry[16];
            for (int n = 0; n < N; ++n) {
                carry[n] = dho[(b * E + e) * N + n];
            }
            for (std::int64_t t = L - 1; t >= 0; --t) {
                const std::int64_t i = (b * L + t) * E + e;
                const double r = dt[i] + bias[e];
                const double delta = std::log1p(std::exp(r));
                const double sg = 1 / (1 + std::exp(-z[i]));
                double y = x[i];
                for (int n = 0; n < N; ++n) {
                    y += bc[(b * L + t) * 32 + N + n] * hist[(t + 1) * N + n];
                }
                const double dg = dy[i] * z[i] * sg;
                dz[i] = dy[i] * y * sg * (1 + z[i] * (1 - sg));
                dD[e] += dg * x[i];
                double du = 0, dd = 0;
                for (int n = 0; n < N; ++n) {
                    const double A = -std::exp(al[e * N + n]);
                    const double gn = bc[(b * L + t) * 32 + N + n] * dg + carry[n];
                    const double ah = as[t * N + n] * hist[t * N + n];
                    const double Bn = bc[(b * L + t) * 32 + n];
                    du += Bn * gn;
                    dd += gn * (Bn * x[i] + A * ah);
                    dA[e * N + n] += gn * delta * ah * A;
                    dbc[(b * L + t) * 32 + n] += gn * delta * x[i];
                    dbc[(b * L + t) * 32 + N + n] += dg * hist[(t + 1) * N + n];
                    carry[n] = as[t * N + n] * gn;
                }
                dx[i] = dg + delta * du;
                ddt[i] = dd / (1 + std::exp(-r));
                dB[e] += ddt[i];
            }
            for (int n = 0; n < N; ++n) {
                dhi[(b * E + e) * N + n] = carry[n];
            }
        }
    }
    const auto ap = host(g.ap, B * s.tiles * E * N), dep = host(g.dep, B * s.tiles * E * 2);
    std::vector<double> gA(E * N), gD(E), gB(E);
    for (std::int64_t i = 0; i < B * s.tiles; ++i) {
        for (int j = 0; j < E * N; ++j) {
            gA[j] += ap[i * E * N + j];
        }
        for (int e = 0; e < E; ++e) {
            gD[e] += dep[(i * E + e) * 2];
            gB[e] += dep[(i * E + e) * 2 + 1];
        }
    }
    std::printf(
        "check %-22s dx %.1e ddt %.1e dz %.1e dbc %.1e dA %.1e dD %.1e dbias %.1e dstate %.1e\n",
        name, relative(host(g.dx, B * L * E), dx), relative(host(g.ddt, B * L * E), ddt),
        relative(host(g.dz, B * L * E), dz), relative(host(g.dbc, B * L * 32), dbc),
        relative(gA, dA), relative(gD, dD), relative(gB, dB),
        relative(host(g.dstate_in, B * E * N), dhi));
}

template <class T>
void bench_backward(const char* name, std::int64_t B, std::int64_t L, int E, float delta) {
    Buffers<T> s(B, L, E, 16, delta);
    GradBuffers<T> g(s);
    forward<T, 2>(s, 0);
    forward_keep(s, g);
    backward(s, g, 0);
    TRY(cudaDeviceSynchronize());
    const float keep = median_ms([&] { forward_keep(s, g); });
    const float all = median_ms([&] { backward(s, g, 0); });
    const float carry = median_ms([&] { backward(s, g, 1); });
    const float combine = median_ms([&] { backward(s, g, 2); });
    const float main_ms = median_ms([&] { backward(s, g, 3); });
    const float sum = median_ms([&] { backward(s, g, 4); });
    std::printf(
        "time  %-28s %6.2f ms  (carry %.2f combine %.2f main %.2f sum %.2f; forward scan that "
        "keeps %.2f)\n",
        name, all, carry, combine, main_ms, sum, keep);
}

}  // namespace

int main(int argc, char**) {
    using H = __nv_bfloat16;
    checked<float, 2>("f32 2x10007x384 2ch", 2, 10007, 384, 0);
    check_backward<float>("f32 2x4100x136", 2, 4100, 136);
    check_backward<float>("f32 1x1000x64", 1, 1000, 64);
    check_backward<H>("bf16 2x4100x136", 2, 4100, 136);
    if (argc > 1) {
        return 0;
    }
    bench<H, 2>("bf16 1x512x2^20", 1, 1 << 20, 512, 0);
    bench<H, 2>("bf16 1x512x2^20 d1e-3", 1, 1 << 20, 512, 1e-3F);
    bench<H, 2>("bf16 1024x512x2^10", 1024, 1 << 10, 512, 0);
    bench<H, 2>("bf16 64x512x2^14", 64, 1 << 14, 512, 0);
    bench_backward<H>("bf16 1x512x2^20", 1, 1 << 20, 512, 0);
    bench_backward<H>("bf16 1x512x2^20 d1e-3", 1, 1 << 20, 512, 1e-3F);
    bench_backward<H>("bf16 1024x512x2^10", 1024, 1 << 10, 512, 0);
    bench_backward<H>("bf16 64x512x2^14", 64, 1 << 14, 512, 0);
    return 0;
}
