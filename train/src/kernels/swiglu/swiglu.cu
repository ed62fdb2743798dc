// Kernels that treat each element alone, and the sum of squares.
#include "common.cuh"

template <class D, class S> __device__ void add(D* dst, const S* src, float s, int64_t n) {
    EACH(i, n) dst[i] = narrow<D>(wide(dst[i]) + s * wide(src[i]));
}

template <class T> __device__ void add_bias(T* dst, const T* bias, int64_t n, int64_t width) {
    EACH(i, n) dst[i] = narrow<T>(wide(dst[i]) + wide(bias[i % width]));
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class T> __device__ void swiglu(T* out, const T* gate, const T* up, int64_t n) {
    EACH(i, n) {
        float g = wide(gate[i]);
        out[i] = narrow<T>(g / (1.0f + expf(-g)) * wide(up[i]));
    }
}

template <class T>
__device__ void swiglu_grad(T* dgate, T* dup, const T* gate, const T* up, const T* dout, int64_t n) {
    EACH(i, n) {
        float g = wide(gate[i]), d = wide(dout[i]), p = sigmoid(g);
        dup[i] = narrow<T>(d * g * p);
        dgate[i] = narrow<T>(d * wide(up[i]) * p * (1.0f + g * (1.0f - p)));
    }
}

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

// One partial sum a block; the host adds them up in order.
template <class T> __device__ void squares(double* partial, const T* x, int64_t n) {
    __shared__ double parts[32];
    double sum = 0.0;
    EACH(i, n) {
        double v = wide(x[i]);
        sum += v * v;
    }
    sum = over_block(sum, Sum(), parts);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void add_f32_##NAME(float* dst, const T* src, float s, int64_t n) { add(dst, src, s, n); }   \
    extern "C" __global__ void add_bf16_##NAME(bf16* dst, const T* src, float s, int64_t n) { add(dst, src, s, n); }   \
    extern "C" __global__ void add_bias_##NAME(T* dst, const T* bias, int64_t n, int64_t width) {                      \
        add_bias(dst, bias, n, width);                                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void swiglu_##NAME(T* out, const T* gate, const T* up, int64_t n) {                          \
        swiglu(out, gate, up, n);                                                                                      \
    }                                                                                                                  \
    extern "C" __global__ void swiglu_grad_##NAME(T* dgate, T* dup, const T* gate, const T* up, const T* d,            \
                                                  int64_t n) {                                                         \
        swiglu_grad(dgate, dup, gate, up, d, n);                                                                       \
    }                                                                                                                  \
    extern "C" __global__ void dropout_##NAME(T* dst, const T* x, uint64_t key, uint32_t limit, float scale,           \
                                              uint32_t add, int64_t n) {                                               \
        dropout(dst, x, key, limit, scale, add, n);                                                                    \
    }                                                                                                                  \
    extern "C" __global__ void noise_##NAME(T* x, const float* magnitude, uint64_t key, int64_t n, int64_t width) {    \
        noise(x, magnitude, key, n, width);                                                                            \
    }                                                                                                                  \
    extern "C" __global__ void squares_##NAME(double* partial, const T* x, int64_t n) { squares(partial, x, n); }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
