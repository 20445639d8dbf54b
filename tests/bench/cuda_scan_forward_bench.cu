// Forward selective scan on the device: checks against float64 at odd sizes, then times.
// Over 500 lines because each flag of the kernels has its case; the reference is 60 of them.
#include "kernels/cuda/selective_scan_launch.cuh"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

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
    std::int64_t batch = 1;
    std::int64_t length = 1;
    int inner = 1;
    int states = 16;
    float delta = 0;  // 0: log-uniform in 1e-3 to 1e-1 by channel
    int run = 0;      // length of packed runs, 0: none
    bool gate = true;
    bool keep = false;
    bool valid = false;  // lengths of lanes differ
    bool state_in = true;
    int rank = 0;  // columns in front of b and c, so that rows are strided
    int channels = 2;
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

class Memory {
  public:
    template <class T>
    T* take(std::int64_t n) {
        void* p = nullptr;
        TRY(cudaMalloc(&p, static_cast<std::size_t>(n) * sizeof(T)));
        TRY(cudaMemset(p, 0xff, static_cast<std::size_t>(n) * sizeof(T)));  // NaN
        all_.push_back(p);
        return static_cast<T*>(p);
    }
    template <class T>
    T* random(std::int64_t n, float scale, std::uint32_t seed) {
        T* const p = take<T>(n);
        fill<<<1024, 256>>>(p, n, scale, seed);
        return p;
    }
    template <class T>
    T* copy(const std::vector<T>& from) {
        T* const p = take<T>(static_cast<std::int64_t>(from.size()));
        TRY(cudaMemcpy(p, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
        return p;
    }
    Memory() = default;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() {
        for (void* p : all_) {
            cudaFree(p);
        }
    }

  private:
    std::vector<void*> all_;
};

template <class T>
ScanParams<T> make(const Case& c, Memory& memory) {
    const std::int64_t rows = c.batch * c.length;
    const std::int64_t E = c.inner;
    const std::int64_t states = static_cast<std::int64_t>(c.inner) * c.states;
    const int width = c.rank + 2 * c.states;
    std::vector<float> a(static_cast<std::size_t>(states));
    std::vector<float> d(c.inner);
    std::vector<float> bias(c.inner);
    for (int e = 0; e < c.inner; ++e) {
        const double u = e * 0.61803398875 - std::floor(e * 0.61803398875);
        const double dt = c.delta > 0 ? c.delta : std::exp(u * std::log(100.0) + std::log(1e-3));
        bias[e] = static_cast<float>(dt + std::log(-std::expm1(-dt)));
        d[e] = 1.0F - 0.001F * static_cast<float>(e);
        for (int n = 0; n < c.states; ++n) {
            a[static_cast<std::size_t>(e) * c.states + n] = std::log(static_cast<float>(n + 1));
        }
    }
    ScanParams<T> p{};
    const auto dense = [&](T* data) { return Rows<T>{data, c.length * E, E}; };
    const auto in = [](Rows<T> r) { return Rows<const T>{r.data, r.batch_stride, r.row_stride}; };
    p.x = in(dense(memory.random<T>(rows * E, 1.0F, 1)));
    p.dt_raw = in(dense(memory.random<T>(rows * E, c.delta > 0 ? 0.0F : 0.1F, 2)));
    if (c.gate) {
        // The right half of rows twice as wide, as in_proj leaves it, where a case is strided.
        const std::int64_t wide = c.rank > 0 ? 2 * E : E;
        p.z = {memory.random<T>(rows * wide, 1.0F, 3) + (wide - E), c.length * wide, wide};
    }
    T* const bc = memory.random<T>(rows * width, 1.0F, 4);
    p.b = {bc + c.rank, c.length * width, width};
    p.c = {bc + c.rank + c.states, c.length * width, width};
    p.y = dense(memory.take<T>(rows * E));
    p.a_log = memory.copy(a);
    p.d = memory.copy(d);
    p.dt_bias = memory.copy(bias);
    p.length = c.length;
    p.tile = kScanTile;
    p.tiles = static_cast<int>((c.length + kScanTile - 1) / kScanTile);
    if (c.run > 0) {
        std::vector<std::int32_t> ids(static_cast<std::size_t>(rows));
        for (std::int64_t i = 0; i < rows; ++i) {
            ids[i] = static_cast<std::int32_t>(i % c.length / c.run);
        }
        p.segment = memory.copy(ids);
        p.segment_stride = c.length;
    }
    if (c.valid) {
        std::vector<std::int64_t> valid(static_cast<std::size_t>(c.batch));
        for (std::int64_t b = 0; b < c.batch; ++b) {
            valid[b] = c.length - (b * 37 + 5) % (c.length + 1);
        }
        p.valid = memory.copy(valid);
    }
    if (c.state_in) {
        p.state_in = memory.random<float>(c.batch * states, 1.0F, 5);
    }
    p.state_out = memory.take<float>(c.batch * states);
    if (c.keep) {
        p.kept = memory.take<float>(c.batch * ((c.length + kKept - 1) / kKept) * c.inner *
                                    kept_states_of(c.states));
    }
    if (ended_tiles(p) > 0) {
        p.tile_state = memory.take<float>(c.batch * p.tiles * states);
        p.tile_delta = memory.take<float>(c.batch * p.tiles * E);
    }
    p.inner = c.inner;
    p.states = c.states;
    p.batch = static_cast<int>(c.batch);
    const int per = 16 / static_cast<int>(sizeof(T));
    p.wide_rows = c.inner % per == 0;
    p.wide_states = (c.states == 16 || c.states == 64) && c.rank % per == 0;
    TRY(cudaDeviceSynchronize());
    return p;
}

template <class T, int N>
void forward(const ScanParams<T>& p, int channels, int part) {
    if (ended_tiles(p) > 0 && (part == 0 || part == 1)) {
        launch_scan_ends<N>(p, nullptr);
    }
    if (ended_tiles(p) > 0 && (part == 0 || part == 2)) {
        launch_scan_combine(p, nullptr);
    }
    if (part == 0 || part == 3) {
        if constexpr (N == 16) {
            if (channels == 2) {
                launch_scan_tiles<16, 2>(p, nullptr);
            } else {
                launch_scan_tiles<16, 1>(p, nullptr);
            }
        } else {
            launch_scan_tiles<N, 1>(p, nullptr);
        }
    }
    TRY(cudaGetLastError());
}

template <class T>
void forward(const Case& c, const ScanParams<T>& p, int part = 0) {
    if (c.states <= 16) {
        forward<T, 16>(p, c.channels, part);
    } else {
        forward<T, 64>(p, c.channels, part);
    }
}

template <class T>
std::vector<float> host(const T* from, std::int64_t n) {
    std::vector<T> raw(static_cast<std::size_t>(n));
    TRY(cudaMemcpy(raw.data(), from, raw.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return {raw.begin(), raw.end()};
}

class Error {
  public:
    void add(double got, double want) {
        const double diff = std::abs(got - want);
        worst_ = std::max(worst_, std::isfinite(diff) ? diff : 1e30);
        largest_ = std::max(largest_, std::abs(want));
    }
    double relative() const { return worst_ == 0 ? 0 : worst_ / largest_; }

  private:
    double worst_ = 0;
    double largest_ = 1e-30;
};

template <class T>
bool check(const char* name, const Case& c) {
    Memory memory;
    const ScanParams<T> p = make<T>(c, memory);
    forward(c, p);
    TRY(cudaDeviceSynchronize());
    const std::int64_t rows = c.batch * c.length;
    const int N = c.states;
    const int padded = kept_states_of(N);
    const std::int64_t chunks = (c.length + kKept - 1) / kKept;
    const auto x = host(p.x.data, rows * c.inner);
    const auto dt = host(p.dt_raw.data, rows * c.inner);
    const std::int64_t wide = p.z.row_stride;
    const auto z = c.gate ? host(p.z.data - (wide - c.inner), rows * wide) : std::vector<float>();
    const auto bc = host(p.b.data - c.rank, rows * p.b.row_stride);
    const auto y = host(p.y.data, rows * c.inner);
    const auto a = host(p.a_log, static_cast<std::int64_t>(c.inner) * N);
    const auto d = host(p.d, c.inner);
    const auto bias = host(p.dt_bias, c.inner);
    const auto h0 = c.state_in ? host(p.state_in, c.batch * c.inner * N) : std::vector<float>();
    const auto h1 = host(p.state_out, c.batch * c.inner * N);
    const auto kept =
        c.keep ? host(p.kept, c.batch * chunks * c.inner * padded) : std::vector<float>();
    std::vector<std::int64_t> valid(static_cast<std::size_t>(c.batch), c.length);
    if (c.valid) {
        TRY(cudaMemcpy(valid.data(), p.valid, valid.size() * 8, cudaMemcpyDeviceToHost));
    }
    Error error_y;
    Error error_state;
    Error error_kept;
    bool zeros = true;
    for (std::int64_t b = 0; b < c.batch; b += std::max<std::int64_t>(1, c.batch / 4)) {
        for (int e = 0; e < c.inner; e += std::max(1, c.inner / 9)) {
            std::vector<double> h(N, 0.0);
            for (int n = 0; n < N && c.state_in; ++n) {
                h[n] = h0[(b * c.inner + e) * N + n];
            }
            for (std::int64_t t = 0; t < c.length; ++t) {
                const std::int64_t row = b * c.length + t;
                if (t >= valid[b]) {
                    zeros = zeros && y[row * c.inner + e] == 0.0F;
                    continue;
                }
                if (c.run > 0 && t > 0 && t % c.run == 0) {
                    std::fill(h.begin(), h.end(), 0.0);
                }
                if (c.keep && t % kKept == 0) {
                    for (int n = 0; n < N; ++n) {
                        error_kept.add(kept[((b * chunks + t / kKept) * c.inner + e) * padded + n],
                                       h[n]);
                    }
                }
                const double r = static_cast<double>(dt[row * c.inner + e]) + bias[e];
                const double delta = r <= 20 ? std::log1p(std::exp(r)) : r;
                const double u = x[row * c.inner + e];
                double out = d[e] * u;
                for (int n = 0; n < N; ++n) {
                    const float* const at = &bc[row * p.b.row_stride + c.rank + n];
                    h[n] = std::exp(-delta * std::exp(static_cast<double>(
                                                 a[static_cast<std::int64_t>(e) * N + n]))) *
                               h[n] +
                           delta * at[0] * u;
                    out += at[N] * h[n];
                }
                if (c.gate) {
                    const double g = z[row * wide + (wide - c.inner) + e];
                    out *= g / (1.0 + std::exp(-g));
                }
                error_y.add(y[row * c.inner + e], out);
            }
            for (int n = 0; n < N; ++n) {
                error_state.add(h1[(b * c.inner + e) * N + n], h[n]);
            }
        }
    }
    const double bar = sizeof(T) == 2 ? 6e-3 : std::max(1e-5, c.delta > 0 ? 3e-8 / c.delta : 0.0);
    const bool good = error_y.relative() <= bar && error_state.relative() <= bar &&
                      error_kept.relative() <= bar && zeros;
    std::printf("%s %-40s y %.1e  state %.1e  kept %.1e%s\n", good ? "ok  " : "FAIL", name,
                error_y.relative(), error_state.relative(), error_kept.relative(),
                zeros ? "" : "  not zero behind the end");
    return good;
}

/// The first rows of a longer call, of one lane among several, with one or two channels a thread:
/// the same bits.
template <class T>
bool check_bits(const char* name, Case c) {
    Memory memory;
    const ScanParams<T> whole = make<T>(c, memory);
    forward(c, whole);
    const auto y = host(whole.y.data, c.batch * c.length * c.inner);
    bool good = true;
    const auto same = [&](const ScanParams<T>& p, const Case& part, std::int64_t lane,
                          std::int64_t first) {
        TRY(cudaMemset(p.y.data, 0xff, c.length * c.inner * sizeof(T)));
        forward(part, p);
        const auto got = host(p.y.data, part.length * c.inner);
        good = good && std::memcmp(got.data(), &y[(lane * c.length + first) * c.inner],
                                   got.size() * sizeof(float)) == 0;
    };
    const auto lane_of = [&](std::int64_t lane, std::int64_t first, std::int64_t length) {
        ScanParams<T> p = whole;
        for (Rows<const T>* r : {&p.x, &p.dt_raw, &p.z, &p.b, &p.c}) {
            r->data += lane * r->batch_stride + first * r->row_stride;
        }
        p.batch = 1;
        p.length = length;
        p.tiles = static_cast<int>((length + kScanTile - 1) / kScanTile);
        p.y.data = memory.take<T>(c.length * c.inner);
        p.state_out = memory.take<float>(static_cast<std::int64_t>(c.inner) * c.states);
        p.state_in =
            whole.state_in == nullptr ? nullptr : whole.state_in + lane * c.inner * c.states;
        if (ended_tiles(p) == 0) {
            p.tile_state = nullptr;
        }
        return p;
    };
    Case part = c;
    part.batch = 1;
    if (c.run == 0) {
        for (const std::int64_t length : {c.length - 1, c.length / 2, std::int64_t{1}}) {
            part.length = length;
            for (part.channels = 1; part.channels <= 2; ++part.channels) {
                same(lane_of(c.batch - 1, 0, length), part, c.batch - 1, 0);
            }
        }
    } else {
        // A run that lies in one tile, alone.
        part.length = c.run;
        const std::int64_t first = c.length / c.run / 2 * c.run;
        ScanParams<T> p = lane_of(c.batch - 1, first, c.run);
        p.segment = nullptr;
        p.state_in = nullptr;
        same(p, part, c.batch - 1, first);
    }
    std::printf("%s %-40s bits\n", good ? "ok  " : "FAIL", name);
    return good;
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
    TRY(cudaEventDestroy(a));
    TRY(cudaEventDestroy(b));
    return times[times.size() / 2];
}

template <class T>
void bench(const char* name, const Case& c) {
    Memory memory;
    const ScanParams<T> p = make<T>(c, memory);
    forward(c, p);
    TRY(cudaDeviceSynchronize());
    const float all = median_ms([&] { forward(c, p); });
    const float ends = p.tiles > 1 ? median_ms([&] { forward(c, p, 1); }) : 0.0F;
    const float combine = p.tiles > 1 ? median_ms([&] { forward(c, p, 2); }) : 0.0F;
    forward(c, p, 1);
    forward(c, p, 2);
    const float scan = median_ms([&] { forward(c, p, 3); });
    std::printf("time %-36s %6.3f ms  (ends %.3f combine %.3f scan %.3f)  %.3f ns a base\n", name,
                all, ends, combine, scan, all * 1e6 / static_cast<double>(c.batch * c.length));
}

bool check_all() {
    using H = __nv_bfloat16;
    bool good = true;
    constexpr std::int64_t tile = kScanTile;
    good &= check<float>("f32 2x(2 tiles+1815)x384", {2, 2 * tile + 1815, 384});
    good &=
        check<float>("f32 one channel a thread",
                     {.batch = 2, .length = tile + 77, .inner = 96, .keep = true, .channels = 1});
    good &= check<float>("f32 delta 1e-3", {.length = 2 * tile + 3, .inner = 64, .delta = 1e-3F});
    good &= check<float>("f32 delta 1e-4", {.length = 2 * tile + 3, .inner = 64, .delta = 1e-4F});
    good &=
        check<float>("f32 odd E 37, one a thread",
                     {.batch = 3, .length = tile + 5, .inner = 37, .keep = true, .channels = 1});
    good &= check<float>("f32 E 34, pairs, not of 16 bytes",
                         {.batch = 3, .length = tile + 5, .inner = 34, .keep = true});
    good &= check<float>("f32 N 8",
                         {.batch = 2, .length = tile + 9, .inner = 72, .states = 8, .keep = true});
    good &= check<float>(
        "f32 N 40",
        {.batch = 2, .length = tile + 9, .inner = 72, .states = 40, .keep = true, .channels = 1});
    good &= check<float>(
        "f32 N 64",
        {.batch = 1, .length = tile + 9, .inner = 520, .states = 64, .keep = true, .channels = 1});
    good &=
        check<float>("f32 strided, kept",
                     {.batch = 2, .length = tile + 301, .inner = 136, .keep = true, .rank = 16});
    good &=
        check<float>("f32 strided by odd", {.batch = 2, .length = 301, .inner = 136, .rank = 3});
    good &= check<float>(
        "f32 runs of 150, valid, kept",
        {.batch = 5, .length = tile + 450, .inner = 136, .run = 150, .keep = true, .valid = true});
    good &= check<float>(
        "f32 runs of 7000",
        {.batch = 2, .length = 2 * tile + 450, .inner = 136, .run = 7000, .keep = true});
    good &= check<float>("f32 no gate, no state, valid", {.batch = 9,
                                                          .length = 77,
                                                          .inner = 64,
                                                          .gate = false,
                                                          .keep = true,
                                                          .valid = true,
                                                          .state_in = false});
    good &= check<float>("f32 T 1", {.batch = 7, .length = 1, .inner = 64, .keep = true});
    good &= check<float>("f32 T 150", {.batch = 20, .length = 150, .inner = 72, .keep = true});
    good &= check<H>("bf16 2x(2 tiles+1815)x384", {2, 2 * tile + 1815, 384});
    good &= check<H>("bf16 odd E 37",
                     {.batch = 3, .length = tile + 5, .inner = 37, .keep = true, .channels = 1});
    good &= check<H>("bf16 strided, runs, valid, kept", {.batch = 5,
                                                         .length = tile + 450,
                                                         .inner = 136,
                                                         .run = 150,
                                                         .keep = true,
                                                         .valid = true,
                                                         .rank = 16});
    good &= check<H>("bf16 N 64",
                     {.batch = 1, .length = tile + 9, .inner = 72, .states = 64, .channels = 1});
    good &= check<H>("bf16 T 1", {.batch = 7, .length = 1, .inner = 64, .keep = true});
    good &= check_bits<float>("f32", {.batch = 3, .length = 2 * tile + 99, .inner = 136});
    good &= check_bits<H>("bf16", {.batch = 3, .length = 2 * tile + 99, .inner = 136});
    good &= check_bits<H>(
        "bf16 runs of 150",
        {.batch = 3, .length = 2 * tile + 99, .inner = 136, .run = 150, .state_in = false});
    return good;
}

/// What reaches every kernel at the least work: for compute-sanitizer's racecheck, which is slow.
bool check_small() {
    using H = __nv_bfloat16;
    bool good = true;
    good &= check<H>("bf16 small", {.length = kScanTile + 20, .inner = 72, .keep = true});
    good &= check<H>("bf16 small, runs, valid, strided", {.batch = 2,
                                                          .length = kScanTile + 20,
                                                          .inner = 24,
                                                          .run = 150,
                                                          .keep = true,
                                                          .valid = true,
                                                          .rank = 16});
    good &= check<float>("f32 small, odd E",
                         {.length = kScanTile + 5, .inner = 5, .keep = true, .channels = 1});
    good &= check<float>("f32 small, N 40",
                         {.length = 21, .inner = 40, .states = 40, .keep = true, .channels = 1});
    return good;
}

void bench_all(bool wide) {
    using H = __nv_bfloat16;
    constexpr std::int64_t mega = 1 << 20;
    bench<H>("1x512x2^20", {.length = mega, .inner = 512});
    bench<H>("1x512x2^20 delta 1e-3", {.length = mega, .inner = 512, .delta = 1e-3F});
    bench<H>("1024x512x2^10", {.batch = 1024, .length = 1024, .inner = 512});
    bench<H>("1x512x2^17", {.length = 1 << 17, .inner = 512});
    bench<H>("1x512x2^17 kept", {.length = 1 << 17, .inner = 512, .keep = true});
    if (!wide) {
        return;
    }
    bench<H>("1x512x1,000,000", {.length = 1000000, .inner = 512});
    bench<H>("1x512x1,000,003", {.length = 1000003, .inner = 512});
    bench<H>("1x512x2^20 runs of 150", {.length = mega, .inner = 512, .run = 150});
    bench<H>("1x512x2^20 one run", {.length = mega, .inner = 512, .run = 1 << 30});
    bench<H>("1x512x2^20 kept", {.length = mega, .inner = 512, .keep = true});
    bench<H>("1024x512x2^10 kept", {.batch = 1024, .length = 1024, .inner = 512, .keep = true});
    bench<H>("64x512x2^14", {.batch = 64, .length = 1 << 14, .inner = 512});
    bench<H>("1x256x2^20", {.length = mega, .inner = 256});
    bench<H>("1x256x2^20 one channel", {.length = mega, .inner = 256, .channels = 1});
    bench<H>("8x2048x2^13", {.batch = 8, .length = 1 << 13, .inner = 2048});
    bench<H>("8x2048x2^13 one channel",
             {.batch = 8, .length = 1 << 13, .inner = 2048, .channels = 1});
    bench<H>("1x512x2^16", {.length = 1 << 16, .inner = 512});
    bench<H>("1x512x2^16 one channel", {.length = 1 << 16, .inner = 512, .channels = 1});
    bench<H>("1024x512x2^10 one channel",
             {.batch = 1024, .length = 1024, .inner = 512, .channels = 1});
    bench<float>("f32 1x512x2^20", {.length = mega, .inner = 512});
}

}  // namespace

/// "check", "small" (fewer checks), "time" (few shapes) or "all".
int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "all";
    cudaDeviceProp card{};
    TRY(cudaGetDeviceProperties(&card, 0));
    std::printf("%s; tile %d, batch %d, warps %d, end batch %d\n", card.name, kScanTile, kScanBatch,
                kScanWarps, kEndBatch);
    bool good = true;
    if (what == "small") {
        return check_small() ? 0 : 1;
    }
    if (what != "time") {
        good = check_all();
    }
    if (what != "check") {
        bench_all(what == "all");
    }
    return good ? 0 : 1;
}
