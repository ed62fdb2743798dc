// What nvcc knows and a host compiler does not: the words of CUDA C++ that our kernels use. Every thread of a block is a
// fiber (fibers.cc); a block at a time, a fiber at a time, so shared memory may be static.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)

struct Dim {
    unsigned x, y, z;
};
extern Dim threadIdx, blockIdx, blockDim, gridDim;

struct uint4 {
    unsigned x, y, z, w;
};
struct float4 {
    float x, y, z, w;
};
inline float4 make_float4(float a, float b, float c, float d) { return {a, b, c, d}; }
using std::min;

inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Shared memory that a launch asked for; build.sh writes calls of this for `extern __shared__`.
void* launch_memory();

void __syncthreads();
void __syncwarp();
// Every lane's value, in the order of lanes: what shuffles and tensor cores are made of. `all` holds 32.
void of_warp(uint64_t mine, uint64_t* all);

template <class T> T __shfl_xor_sync(unsigned, T value, int lane) {
    uint64_t all[32], bits = 0;
    memcpy(&bits, &value, sizeof value);
    of_warp(bits, all);
    memcpy(&value, &all[(threadIdx.x ^ unsigned(lane)) % 32], sizeof value);
    return value;
}

// Rounded one by one: build.sh keeps the compiler from fusing them.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }

// A kernel by its name, called with pointers to its arguments as cuLaunchKernel gets them.
void remember(const char* name, std::function<void(void**)> kernel);

struct Kernel {
    template <class... A> Kernel(const char* name, void (*function)(A...)) {
        remember(name, [function](void** from) { call(function, from, std::index_sequence_for<A...>()); });
    }
    template <class... A, size_t... I> static void call(void (*function)(A...), void** from, std::index_sequence<I...>) {
        function(*static_cast<A*>(from[I])...);
    }
};
