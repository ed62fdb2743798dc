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
