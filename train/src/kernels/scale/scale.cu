// Elements times a number, and through a soft cap.
#include "common.cuh"

template <class T> __device__ void scale(T* __restrict__ y, const T* __restrict__ x, float s, int64_t n) {
    EACH_PIECE(piece, n, aligned(y, x)) {
        float v[8];
        load8(v, x, piece);
        for (int e = 0; e < 8; e++) v[e] *= s;
        store8(y, v, piece);
    }
}

template <class T> __device__ void soft_cap(T* __restrict__ y, const T* __restrict__ x, float cap, int64_t n) {
    EACH_PIECE(piece, n, aligned(y, x)) {
        float v[8];
        load8(v, x, piece);
        for (int e = 0; e < 8; e++) v[e] = cap * tanhf(v[e] / cap);
        store8(y, v, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void scale_##NAME(T* y, const T* x, float s, int64_t n) { scale(y, x, s, n); }               \
    extern "C" __global__ void soft_cap_##NAME(T* y, const T* x, float cap, int64_t n) { soft_cap(y, x, cap, n); }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
