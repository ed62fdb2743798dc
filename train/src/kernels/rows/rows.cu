// Rows by their numbers, a block of threads a row.
#include "common.cuh"

template <class D, class S>
__device__ void gather_rows(D* some, const S* all, const uint32_t* places, int width) {
    D* to = some + int64_t(blockIdx.x) * width;
    const S* from = all + int64_t(places[blockIdx.x]) * width;
    EACH_PIECE_OF_ROW(piece, width, aligned(to, from)) {
        float v[8];
        load8(v, from, piece);
        store8(to, v, piece);
    }
}

template <class T>
__device__ void put_rows(T* __restrict__ all, const T* __restrict__ some, const uint32_t* places, int width) {
    T* to = all + int64_t(places[blockIdx.x]) * width;
    const T* from = some + int64_t(blockIdx.x) * width;
    EACH_PIECE_OF_ROW(piece, width, aligned(to, from)) {
        float v[8];
        load8(v, from, piece);
        store8(to, v, piece);
    }
}

template <class D, class S>
__device__ void add_rows(D* all, const S* some, const uint32_t* starts, const uint32_t* members, int width,
                         uint32_t keep) {
    uint32_t first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    // Most rows of an embedding have no gradient in a step.
    if (keep && first == end) return;
    D* to = all + int64_t(blockIdx.x) * width;
    EACH_PIECE_OF_ROW(piece, width, aligned(to, some) && width % 8 == 0) {
        float sum[8] = {};
        if (keep) load8(sum, to, piece);
        for (uint32_t i = first; i < end; i++) {
            float v[8];
            load8(v, some + int64_t(members[i]) * width, piece);
            for (int e = 0; e < 8; e++) sum[e] += v[e];
        }
        store8(to, sum, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void gather_rows_f32_##NAME(float* some, const T* all, const uint32_t* places,               \
                                                      int32_t width) {                                                 \
        gather_rows(some, all, places, width);                                                                         \
    }                                                                                                                  \
    extern "C" __global__ void gather_rows_bf16_##NAME(bf16* some, const T* all, const uint32_t* places,               \
                                                       int32_t width) {                                                \
        gather_rows(some, all, places, width);                                                                         \
    }                                                                                                                  \
    extern "C" __global__ void put_rows_##NAME(T* all, const T* some, const uint32_t* places, int32_t width) {         \
        put_rows(all, some, places, width);                                                                            \
    }                                                                                                                  \
    extern "C" __global__ void add_rows_f32_##NAME(float* all, const T* some, const uint32_t* starts,                  \
                                                   const uint32_t* members, int32_t width, uint32_t keep) {            \
        add_rows(all, some, starts, members, width, keep);                                                             \
    }                                                                                                                  \
    extern "C" __global__ void add_rows_bf16_##NAME(bf16* all, const T* some, const uint32_t* starts,                  \
                                                    const uint32_t* members, int32_t width, uint32_t keep) {           \
        add_rows(all, some, starts, members, width, keep);                                                             \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
