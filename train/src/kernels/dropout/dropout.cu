// Dropout with the masks of random.rs.
#include "common.cuh"

// random.rs: mask_bits
__device__ inline uint32_t mask_bits(uint64_t key, uint32_t i) {
    uint32_t x = i ^ uint32_t(key);
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    x = (x ^ (x >> 15)) + uint32_t(key >> 32);
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    return x ^ (x >> 15);
}

template <class T>
__device__ void dropout(T* dst, const T* x, uint64_t key, uint32_t limit, float scale, uint32_t add, int64_t n) {
    EACH(i, n) {
        float kept = mask_bits(key, uint32_t(i)) >= limit ? __fmul_rn(wide(x[i]), scale) : 0.0f;
        dst[i] = narrow<T>(add ? __fadd_rn(wide(dst[i]), kept) : kept);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void dropout_##NAME(T* dst, const T* x, uint64_t key, uint32_t limit, float scale,           \
                                          uint32_t add, int64_t n) {                                                   \
        dropout(dst, x, key, limit, scale, add, n);                                                                    \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
