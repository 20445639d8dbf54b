// The inner loops of the sequence ops, one table of functions for each SIMD level.
//
// A function does one task on one thread: it gets raw pointers, row strides in elements and
// counts, and no memory but the scratch that it is handed. Every kernel is the same text
// (sequence_kernels.inl) compiled for three instruction sets. Channels are the vector dimension:
// each goes through the same operations in the same order wherever it stands in a vector, and rows
// are taken one after another, so the bits of a row do not depend on the cut into tasks.
#pragma once

#include "kernels/cpu/simd_level.hpp"

#include <cstdint>

namespace mambase::cpu {

/// Channels of one task of the scan: two cache lines of a row, two vectors of AVX-512.
inline constexpr std::int64_t kScanBlock = 32;
/// Positions between two states that the forward scan keeps for the backward.
inline constexpr std::int64_t kScanTile = 16;
/// Floats of scratch that a backward scan wants for each of N states, and besides.
inline constexpr std::int64_t kScanScratchPerState = kScanBlock * (4 + 3 * kScanTile);
inline constexpr std::int64_t kScanScratchFixed = kScanBlock * (4 + 9 * kScanTile);
/// Scratch rows of the convolution are padded to this many channels: four vectors of AVX-512.
inline constexpr std::int64_t kChannelPadding = 64;

/// Rows [0, length) of one lane, at most kScanBlock channels.
struct ScanInput {
    std::int64_t length;
    std::int64_t channels;
    std::int64_t state;  // N
    const float* x;
    const float* dt_raw;
    const float* z;  // or null
    const float* b;
    const float* c;
    std::int64_t x_stride, dt_raw_stride, z_stride, b_stride, c_stride;
    const float* a_log;           // [channels,N]
    const float* d;               // [channels]
    const float* dt_bias;         // [channels]
    const std::int32_t* segment;  // [length] or null
    float* scratch;               // kScanScratchFixed + N·kScanScratchPerState, 64-byte aligned
};

struct ScanForward {
    ScanInput in;
    const float* state_in;  // [channels,N] or null
    float* state_out;       // [channels,N] or null
    float* saved;           // [ceil(length / kScanTile), N, kScanBlock] or null
    float* y;
    std::int64_t y_stride;
    bool rates_are_there;  // the scratch is as a call for the same channels has left it
};

struct ScanBackward {
    ScanInput in;
    const float* saved;
    const float* dy;
    float* dx;
    float* ddt_raw;
    float* dz;  // or null
    std::int64_t dy_stride, dx_stride, ddt_raw_stride, dz_stride;
    const float* dstate_out;  // [channels,N] or null
    float* dstate_in;         // [channels,N] or null
    float* dbc;               // [length, 2N]: this block's share of db, then of dc
    /// For every gradient tile [N + 2, kScanBlock]: da_log, dd, ddt_bias.
    float* parameter_tiles;
    std::int64_t parameter_tile_stride;
};

/// One lane of the convolution, all its channels.
struct ConvInput {
    std::int64_t channels;
    std::int64_t taps;  // W
    const float* x;     // row 0 of the call
    std::int64_t x_stride;
    const float* state;           // [W−1, channels] or null: rows −(W−1) … −1
    const std::int32_t* segment;  // or null
    const float* weight;          // [W + 1, padded]: taps, oldest first, then the bias
    std::int64_t padded;          // channels rounded up to kChannelPadding
    const float* zeros;           // [channels]
};

/// Rows [lo, hi).
struct ConvForward {
    ConvInput in;
    std::int64_t lo, hi;
    float* y;
    std::int64_t y_stride;
};

/// Rows [lo, hi), and before them those up to W − 1 rows further right that reach back into them.
struct ConvBackward {
    ConvInput in;
    std::int64_t lo, hi;
    std::int64_t end;  // min(hi + W − 1, valid)
    const float* dy;
    float* dx;
    std::int64_t dy_stride, dx_stride;
    float* pending;  // [W − 1, padded], in and out: gradient of the state after row end − 1, then
                     // of that before row lo
    float* parameters;  // [W + 1, padded], out: gradient of weight and bias over the rows
};

struct SequenceKernels {
    void (*scan_forward)(const ScanForward&);
    void (*scan_backward)(const ScanBackward&);
    void (*conv_forward)(const ConvForward&);
    void (*conv_backward)(const ConvBackward&);

    // y[i] = f(x[i]), for the tests of math.inl.
    void (*exp2_nonpositive)(const float* x, float* y, std::int64_t count);
    void (*exp)(const float* x, float* y, std::int64_t count);
    void (*softplus)(const float* x, float* y, std::int64_t count);
    void (*logistic)(const float* x, float* y, std::int64_t count);
};

template <SimdLevel L>
const SequenceKernels& sequence_kernels();
template <>
const SequenceKernels& sequence_kernels<SimdLevel::scalar>();
template <>
const SequenceKernels& sequence_kernels<SimdLevel::avx2>();
template <>
const SequenceKernels& sequence_kernels<SimdLevel::avx512>();

}  // namespace mambase::cpu
