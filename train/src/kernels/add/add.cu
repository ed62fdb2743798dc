// Sums in place.
#include "common.cuh"

template <class D, class S>
__device__ void add(D* __restrict__ dst, const S* __restrict__ src, float s, int64_t n) {
    EACH_PIECE(piece, n, aligned(dst, src)) {
        float to[8], v[8];
        load8(to, dst, piece);
        load8(v, src, piece);
        for (int e = 0; e < 8; e++) to[e] += s * v[e];
        store8(dst, to, piece);
    }
}

// A block of threads a row.
template <class T> __device__ void add_bias(T* __restrict__ dst, const T* __restrict__ bias, int width) {
    T* row = dst + int64_t(blockIdx.x) * width;
    EACH_PIECE_OF_ROW(piece, width, aligned(row, bias)) {
        float to[8], v[8];
        load8(to, row, piece);
        load8(v, bias, piece);
        for (int e = 0; e < 8; e++) to[e] += v[e];
        store8(row, to, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void add_f32_##NAME(float* dst, const T* src, float s, int64_t n) { add(dst, src, s, n); }   \
    extern "C" __global__ void add_bf16_##NAME(bf16* dst, const T* src, float s, int64_t n) { add(dst, src, s, n); }   \
    extern "C" __global__ void add_bias_##NAME(T* dst, const T* bias, int32_t width) { add_bias(dst, bias, width); }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
