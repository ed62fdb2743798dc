// Columns of a matrix, a block of threads a row.
#include "common.cuh"

template <class T>
__device__ void copy_columns(T* __restrict__ to, const T* __restrict__ from, int width, int to_start, int to_width,
                             int from_start, int from_width) {
    T* row = to + int64_t(blockIdx.x) * to_width + to_start;
    const T* other = from + int64_t(blockIdx.x) * from_width + from_start;
    EACH_PIECE_OF_ROW(piece, width, aligned(row, other)) {
        float v[8];
        load8(v, other, piece);
        store8(row, v, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void copy_columns_##NAME(T* to, const T* from, int32_t width, int32_t to_start,              \
                                                   int32_t to_width, int32_t from_start, int32_t from_width) {         \
        copy_columns(to, from, width, to_start, to_width, from_start, from_width);                                     \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
