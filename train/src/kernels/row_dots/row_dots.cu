// Products of rows, a block of threads a row.
#include "common.cuh"

template <class T> __device__ void row_dots(float* sums, const T* a, const T* b, int width) {
    __shared__ float parts[32];
    const T *x = a + int64_t(blockIdx.x) * width, *y = b + int64_t(blockIdx.x) * width;
    float sum = 0.0f;
    EACH_PIECE_OF_ROW(piece, width, aligned(x, y)) {
        float v[8], w[8];
        load8(v, x, piece);
        load8(w, y, piece);
        for (int e = 0; e < 8; e++) sum += v[e] * w[e];
    }
    sum = over_block(sum, Sum(), parts);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void row_dots_##NAME(float* sums, const T* a, const T* b, int32_t width) {                   \
        row_dots(sums, a, b, width);                                                                                   \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
