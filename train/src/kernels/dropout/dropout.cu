// Dropout with the masks of random.rs.
#include "mask.cuh"

template <class T>
__device__ void dropout(T* __restrict__ dst, const T* __restrict__ x, uint64_t key, uint32_t limit, float scale,
                        uint32_t add, int64_t n) {
    EACH_PIECE(piece, n, aligned(dst, x)) {
        float v[8], to[8] = {};
        load8(v, x, piece);
        if (add) load8(to, dst, piece);
        for (int e = 0; e < 8; e++) {
            float kept = mask_bits(key, uint32_t(piece.at + e)) >= limit ? __fmul_rn(v[e], scale) : 0.0f;
            v[e] = add ? __fadd_rn(to[e], kept) : kept;
        }
        store8(dst, v, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void dropout_##NAME(T* dst, const T* x, uint64_t key, uint32_t limit, float scale,           \
                                          uint32_t add, int64_t n) {                                                   \
        dropout(dst, x, key, limit, scale, add, n);                                                                    \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
