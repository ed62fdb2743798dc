// RMSNorm, one block of threads a row.
#include "common.cuh"

template <class T> __device__ float reciprocal(const T* x, int width, float eps, float* parts) {
    float sum = 0.0f;
    EACH_PIECE_OF_ROW(piece, width, aligned(x)) {
        float v[8];
        load8(v, x, piece);
        for (int e = 0; e < 8; e++) sum += v[e] * v[e];
    }
    return 1.0f / sqrtf(over_block(sum, Sum(), parts) / float(width) + eps);
}

template <class T>
__device__ void rms_norm(T* __restrict__ y, const T* __restrict__ x, const T* __restrict__ w, float eps, float offset,
                         int width) {
    __shared__ float parts[32];
    int64_t row = int64_t(blockIdx.x) * width;
    float r = reciprocal(x + row, width, eps, parts);
    EACH_PIECE_OF_ROW(piece, width, aligned(y + row, x + row, w)) {
        float v[8], weight[8];
        load8(v, x + row, piece);
        load8(weight, w, piece);
        for (int e = 0; e < 8; e++) v[e] = (weight[e] + offset) * (v[e] * r);
        store8(y + row, v, piece);
    }
}

// dx += r g - x r^3 mean(g x) with g = (w + offset) dy
template <class T>
__device__ void rms_norm_grad(T* __restrict__ dx, const T* __restrict__ x, const T* __restrict__ w,
                              const T* __restrict__ dy, float eps, float offset, int width) {
    __shared__ float parts[32], pulls[32];
    int64_t row = int64_t(blockIdx.x) * width;
    bool fits = aligned(dx + row, x + row, w, dy + row);
    float squares = 0.0f, sum = 0.0f;
    EACH_PIECE_OF_ROW(piece, width, fits) {
        float v[8], weight[8], d[8];
        load8(v, x + row, piece);
        load8(weight, w, piece);
        load8(d, dy + row, piece);
        for (int e = 0; e < 8; e++) {
            squares += v[e] * v[e];
            sum += (weight[e] + offset) * d[e] * v[e];
        }
    }
    float r = 1.0f / sqrtf(over_block(squares, Sum(), parts) / float(width) + eps);
    float pull = r * r * r * over_block(sum, Sum(), pulls) / float(width);
    EACH_PIECE_OF_ROW(piece, width, fits) {
        float v[8], weight[8], d[8], to[8];
        load8(v, x + row, piece);
        load8(weight, w, piece);
        load8(d, dy + row, piece);
        load8(to, dx + row, piece);
        for (int e = 0; e < 8; e++) to[e] += r * ((weight[e] + offset) * d[e]) - pull * v[e];
        store8(dx + row, to, piece);
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
    extern "C" __global__ void rms_norm_##NAME(T* y, const T* x, const T* w, float eps, float offset, int32_t width) { \
        rms_norm(y, x, w, eps, offset, width);                                                                         \
    }                                                                                                                  \
    extern "C" __global__ void rms_norm_grad_##NAME(T* dx, const T* x, const T* w, const T* dy, float eps,             \
                                                    float offset, int32_t width) {                                     \
        rms_norm_grad(dx, x, w, dy, eps, offset, width);                                                               \
    }                                                                                                                  \
    extern "C" __global__ void rms_norm_products_##NAME(float* out, const T* x, const T* dy, float eps,                \
                                                        int32_t width) {                                               \
        rms_norm_products(out, x, dy, eps, width);                                                                     \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
