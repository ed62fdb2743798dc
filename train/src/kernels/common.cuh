// What all kernels share: elements are kept as f32 or bf16, arithmetic is in f32. Sums have a fixed order and nothing
// is added atomically, so that a run can be repeated to the bit.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>

using bf16 = __nv_bfloat16;

__device__ inline float wide(float x) { return x; }
__device__ inline float wide(bf16 x) { return __bfloat162float(x); }

template <class T> __device__ inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x) { return x; }
template <> __device__ inline bf16 narrow<bf16>(float x) { return __float2bfloat16_rn(x); }

// Every thread's elements, for as many blocks as there happen to be.
#define EACH(i, n)                                                                                                     \
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, stride_ = int64_t(gridDim.x) * blockDim.x;        \
         i < (n); i += stride_)

// Up to eight elements from number `at` on; `whole` if they are eight and lie so that two accesses of 16 bytes (f32) or
// one (bf16) have all of them.
struct Piece {
    int64_t at;
    int count;
    bool whole;
};

// What pieces may be of tensors that begin at these addresses.
template <class... P> __device__ inline bool aligned(const P*... p) {
    return ((reinterpret_cast<uintptr_t>(p) % 16 == 0) && ...);
}

// Every thread's pieces of n elements.
#define EACH_PIECE(piece, n, fits)                                                                                     \
    for (Piece piece = piece_of(int64_t(blockIdx.x) * blockDim.x + threadIdx.x, n, fits); piece.at < (n);              \
         piece = piece_of(piece.at / 8 + int64_t(gridDim.x) * blockDim.x, n, fits))

// The block's pieces of a row of `width` elements.
#define EACH_PIECE_OF_ROW(piece, width, fits)                                                                          \
    for (Piece piece = piece_of(threadIdx.x, width, fits); piece.at < (width);                                         \
         piece = piece_of(piece.at / 8 + blockDim.x, width, fits))

__device__ inline Piece piece_of(int64_t number, int64_t n, bool fits) {
    int64_t at = number * 8, left = n - at;
    int count = left < 8 ? int(left) : 8;
    return Piece{at, count, fits && count == 8};
}

__device__ inline void load_whole(float (&v)[8], const float* p) {
    float4 a = reinterpret_cast<const float4*>(p)[0], b = reinterpret_cast<const float4*>(p)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ inline void load_whole(float (&v)[8], const bf16* p) {
    union {
        uint4 word;
        bf16 half[8];
    } all;
    all.word = *reinterpret_cast<const uint4*>(p);
    for (int e = 0; e < 8; e++) v[e] = wide(all.half[e]);
}
__device__ inline void store_whole(float* p, const float (&v)[8]) {
    reinterpret_cast<float4*>(p)[0] = make_float4(v[0], v[1], v[2], v[3]);
    reinterpret_cast<float4*>(p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}
__device__ inline void store_whole(bf16* p, const float (&v)[8]) {
    union {
        uint4 word;
        bf16 half[8];
    } all;
    for (int e = 0; e < 8; e++) all.half[e] = narrow<bf16>(v[e]);
    *reinterpret_cast<uint4*>(p) = all.word;
}

// The piece of `p`; elements that are not there are 0.
template <class T> __device__ inline void load8(float (&v)[8], const T* p, Piece piece) {
    if (piece.whole) {
        load_whole(v, p + piece.at);
    } else {
        for (int e = 0; e < 8; e++) v[e] = e < piece.count ? wide(p[piece.at + e]) : 0.0f;
    }
}
template <class T> __device__ inline void store8(T* p, const float (&v)[8], Piece piece) {
    if (piece.whole) {
        store_whole(p + piece.at, v);
    } else {
        for (int e = 0; e < 8; e++) {
            if (e < piece.count) p[piece.at + e] = narrow<T>(v[e]);
        }
    }
}

struct Sum {
    template <class V> __device__ V operator()(V a, V b) const { return a + b; }
};
struct Largest {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// The same value in all lanes of a warp.
template <class V, class Op> __device__ inline V over_warp(V x, Op op) {
    for (int lane = 16; lane > 0; lane /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

// The same value in all threads of a block of whole warps. `parts` is shared memory for one value a warp; it may be
// used again after the next barrier.
template <class V, class Op> __device__ inline V over_block(V x, Op op, V* parts) {
    x = over_warp(x, op);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    V all = parts[0];
    for (int warp = 1; warp < int(blockDim.x) / 32; warp++) all = op(all, parts[warp]);
    return all;
}
