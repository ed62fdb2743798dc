// RMSNorm, one block a row, and rotary embedding.
#include "common.cuh"

template <class T> __device__ float reciprocal(const T* x, int width, float eps, float* parts) {
    float sum = 0.0f;
    for (int c = threadIdx.x; c < width; c += blockDim.x) sum += wide(x[c]) * wide(x[c]);
    return 1.0f / sqrtf(over_block(sum, Sum(), parts) / float(width) + eps);
}

template <class T> __device__ void rms_norm(T* y, const T* x, const T* w, float eps, int width) {
    __shared__ float parts[32];
    int64_t row = int64_t(blockIdx.x) * width;
    float r = reciprocal(x + row, width, eps, parts);
    for (int c = threadIdx.x; c < width; c += blockDim.x) y[row + c] = narrow<T>(wide(w[c]) * (wide(x[row + c]) * r));
}

// dx += r g - x r^3 mean(g x) with g = w dy
template <class T> __device__ void rms_norm_grad(T* dx, const T* x, const T* w, const T* dy, float eps, int width) {
    __shared__ float parts[32], pulls[32];
    int64_t row = int64_t(blockIdx.x) * width;
    float r = reciprocal(x + row, width, eps, parts);
    float sum = 0.0f;
    for (int c = threadIdx.x; c < width; c += blockDim.x) sum += wide(w[c]) * wide(dy[row + c]) * wide(x[row + c]);
    float pull = r * r * r * over_block(sum, Sum(), pulls) / float(width);
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        float g = wide(w[c]) * wide(dy[row + c]);
        dx[row + c] = narrow<T>(wide(dx[row + c]) + (r * g - pull * wide(x[row + c])));
    }
}

// Element i of a head turns with element i + dim / 2. `n` counts pairs: [T, heads, dim / 2].
template <class T, class C>
__device__ void rope(T* x, const C* cosine, const C* sine, int heads, int half, float sign, int64_t n) {
    EACH(i, n) {
        int c = int(i % half);
        int64_t head = i / half, angle = head / heads * half + c;
        float co = wide(cosine[angle]), si = sign * wide(sine[angle]);
        T* a = x + head * 2 * half + c;
        T* b = a + half;
        float u = wide(*a), v = wide(*b);
        *a = narrow<T>(u * co - v * si);
        *b = narrow<T>(v * co + u * si);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void rms_norm_##NAME(T* y, const T* x, const T* w, float eps, int32_t width) {               \
        rms_norm(y, x, w, eps, width);                                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void rms_norm_grad_##NAME(T* dx, const T* x, const T* w, const T* dy, float eps,             \
                                                    int32_t width) {                                                   \
        rms_norm_grad(dx, x, w, dy, eps, width);                                                                       \
    }                                                                                                                  \
    extern "C" __global__ void rope_f32_##NAME(float* x, const T* cosine, const T* sine, int32_t heads, int32_t half,  \
                                               float sign, int64_t n) {                                                \
        rope(x, cosine, sine, heads, half, sign, n);                                                                   \
    }                                                                                                                  \
    extern "C" __global__ void rope_bf16_##NAME(bf16* x, const T* cosine, const T* sine, int32_t heads, int32_t half,  \
                                                float sign, int64_t n) {                                               \
        rope(x, cosine, sine, heads, half, sign, n);                                                                   \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
