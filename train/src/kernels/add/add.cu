// Sums in place.
#include "common.cuh"

template <class D, class S> __device__ void add(D* dst, const S* src, float s, int64_t n) {
    EACH(i, n) dst[i] = narrow<D>(wide(dst[i]) + s * wide(src[i]));
}

template <class T> __device__ void add_bias(T* dst, const T* bias, int64_t n, int64_t width) {
    EACH(i, n) dst[i] = narrow<T>(wide(dst[i]) + wide(bias[i % width]));
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void add_f32_##NAME(float* dst, const T* src, float s, int64_t n) { add(dst, src, s, n); }   \
    extern "C" __global__ void add_bf16_##NAME(bf16* dst, const T* src, float s, int64_t n) { add(dst, src, s, n); }   \
    extern "C" __global__ void add_bias_##NAME(T* dst, const T* bias, int64_t n, int64_t width) {                      \
        add_bias(dst, bias, n, width);                                                                                 \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
