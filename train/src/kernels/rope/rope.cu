// Rotary embedding in place.
#include "common.cuh"

// Element i of the first 2 half of a head turns with element i + half. A block of threads has a token of all heads.
template <class T, class C>
__device__ void rope(T* __restrict__ x, const C* __restrict__ cosine, const C* __restrict__ sine, int heads, int half,
                     int dim, float sign) {
    int64_t token = blockIdx.x;
    T* row = x + token * heads * dim;
    const C *cos_row = cosine + token * half, *sin_row = sine + token * half;
    // Eight at a time where no eight are of two heads.
    int step = half % 8 == 0 ? 8 : 1;
    bool fits = aligned(row, cos_row, sin_row) && step == 8 && dim % 8 == 0;
    for (int i = threadIdx.x * step; i < heads * half; i += blockDim.x * step) {
        Piece angle{i % half, step, fits}, first{i / half * dim + i % half, step, fits};
        Piece second{first.at + half, step, fits};
        float co[8], si[8], u[8], v[8];
        load8(co, cos_row, angle);
        load8(si, sin_row, angle);
        load8(u, row, first);
        load8(v, row, second);
        for (int e = 0; e < 8; e++) {
            float a = u[e], b = v[e], s = sign * si[e];
            u[e] = a * co[e] - b * s;
            v[e] = b * co[e] + a * s;
        }
        store8(row, u, first);
        store8(row, v, second);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void rope_f32_##NAME(float* x, const T* cosine, const T* sine, int32_t heads, int32_t half,  \
                                           int32_t dim, float sign) {                                                  \
        rope(x, cosine, sine, heads, half, dim, sign);                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void rope_bf16_##NAME(bf16* x, const T* cosine, const T* sine, int32_t heads, int32_t half,  \
                                            int32_t dim, float sign) {                                                 \
        rope(x, cosine, sine, heads, half, dim, sign);                                                                 \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
