// Rows times a number each, a block of threads a row.
#include "common.cuh"

template <class T> __device__ void scale_rows(T* x, const float* weights, int width) {
    T* row = x + int64_t(blockIdx.x) * width;
    float weight = weights[blockIdx.x];
    EACH_PIECE_OF_ROW(piece, width, aligned(row)) {
        float v[8];
        load8(v, row, piece);
        for (int e = 0; e < 8; e++) v[e] *= weight;
        store8(row, v, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void scale_rows_##NAME(T* x, const float* weights, int32_t width) {                          \
        scale_rows(x, weights, width);                                                                                 \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
