// Tensors in another type.
#include "common.cuh"

template <class D, class S> __device__ void cast(D* __restrict__ y, const S* __restrict__ x, int64_t n) {
    EACH_PIECE(piece, n, aligned(y, x)) {
        float v[8];
        load8(v, x, piece);
        store8(y, v, piece);
    }
}

extern "C" __global__ void cast_bf16_f32(bf16* y, const float* x, int64_t n) { cast(y, x, n); }
extern "C" __global__ void cast_f32_bf16(float* y, const bf16* x, int64_t n) { cast(y, x, n); }
