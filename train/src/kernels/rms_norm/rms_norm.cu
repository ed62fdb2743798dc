// RMSNorm, one block of threads a row.
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

// dy x / rms(x), in f32.
template <class T> __device__ void rms_norm_products(float* out, const T* x, const T* dy, float eps, int width) {
    __shared__ float parts[32];
    int64_t row = int64_t(blockIdx.x) * width;
    float r = reciprocal(x + row, width, eps, parts);
    EACH_PIECE_OF_ROW(piece, width, aligned(out + row, x + row, dy + row)) {
        float v[8], d[8];
        load8(v, x + row, piece);
        load8(d, dy + row, piece);
        for (int e = 0; e < 8; e++) v[e] = v[e] * r * d[e];
        store8(out + row, v, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void rms_norm_##NAME(T* y, const T* x, const T* w, float eps, int32_t width) {               \
        rms_norm(y, x, w, eps, width);                                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void rms_norm_grad_##NAME(T* dx, const T* x, const T* w, const T* dy, float eps,             \
                                                int32_t width) {                                                       \
        rms_norm_grad(dx, x, w, dy, eps, width);                                                                       \
    }                                                                                                                  \
    extern "C" __global__ void rms_norm_products_##NAME(float* out, const T* x, const T* dy, float eps,                \
                                                        int32_t width) {                                               \
        rms_norm_products(out, x, dy, eps, width);                                                                     \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
