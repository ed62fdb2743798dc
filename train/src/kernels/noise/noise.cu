// Noise with the numbers of random.rs.
#include "common.cuh"

// random.rs: mix, bits and uniform
__device__ inline float uniform(uint64_t key, uint64_t i) {
    uint64_t z = key + (i + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return float(uint32_t(z >> 40)) / 16777216.0f;
}

template <class T> __device__ void noise(T* x, const float* magnitude, uint64_t key, int64_t n, int64_t width) {
    EACH(i, n) {
        float push = __fmul_rn(2.0f * uniform(key, uint64_t(i)) - 1.0f, magnitude[i / width]);
        x[i] = narrow<T>(__fadd_rn(wide(x[i]), push));
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void noise_##NAME(T* x, const float* magnitude, uint64_t key, int64_t n, int64_t width) {    \
        noise(x, magnitude, key, n, width);                                                                            \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
