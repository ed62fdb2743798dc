// NF4: mod.rs says what the numbers mean. The same bytes and the same f32 values as there, so nothing
// that is rounded twice on the CPU is fused here.
#include "common.cuh"

constexpr int BLOCK = 64;
constexpr int NESTED = 256;

__device__ const float CODE[16] = {-1.0f,        -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f,
                                   -0.091050036f, 0.0f,        0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
                                   0.44070983f,  0.562617f,   0.72295684f,  1.0f};

// A warp a block, two weights a lane.
template <class T> __device__ void quantize(uint8_t* packed, float* scales, const T* weights, int64_t n) {
    __shared__ float middles[15];
    if (threadIdx.x < 15) middles[threadIdx.x] = (CODE[threadIdx.x] + CODE[threadIdx.x + 1]) / 2.0f;
    __syncthreads();
    int lane = threadIdx.x % 32;
    int64_t block = int64_t(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32, first = block * BLOCK;
    if (first >= n) return;
    float x[2];
    for (int i = 0; i < 2; i++) {
        int64_t at = first + 2 * lane + i;
        x[i] = at < n ? wide(weights[at]) : 0.0f;
    }
    float scale = over_warp(fmaxf(fabsf(x[0]), fabsf(x[1])), Largest());
    // A short block is divided by its scale, a whole one multiplied by the reciprocal: so bitsandbytes has it.
    bool whole = first + BLOCK <= n;
    float least = fmaxf(scale, 1e-38f), inverse = __fdiv_rn(1.0f, least);
    uint32_t byte = 0;
    for (int i = 0; i < 2; i++) {
        float v = whole ? __fmul_rn(x[i], inverse) : __fdiv_rn(x[i], least);
        uint32_t code = 0;
        for (int m = 0; m < 15; m++) code += v > middles[m];
        byte = byte << 4 | code;
    }
    if (first + 2 * lane < n) packed[block * (BLOCK / 2) + lane] = uint8_t(byte);
    if (lane == 0) scales[block] = whole ? scale : least;
}

// Scales as they are, or in 8 bits: map[code] * nested[block / 256] + offset.
struct Plain {
    const float* scales;
    __device__ float operator()(int64_t block) const { return scales[block]; }
};
struct Doubled {
    const uint8_t* codes;
    const float* map;
    const float* nested;
    float offset;
    __device__ float operator()(int64_t block) const {
        return __fadd_rn(__fmul_rn(map[codes[block]], nested[block / NESTED]), offset);
    }
};

// Eight weights a thread; they share a scale.
template <class T, class Scale> __device__ void dequantize(T* out, const uint8_t* packed, Scale scale, int64_t n) {
    __shared__ float code[16];
    if (threadIdx.x < 16) code[threadIdx.x] = CODE[threadIdx.x];
    __syncthreads();
    bool aligned = reinterpret_cast<uintptr_t>(packed) % 4 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0;
    EACH(i, (n + 7) / 8) {
        float s = scale(i * 8 / BLOCK), v[8];
        if (aligned && i * 8 + 8 <= n) {
            uint32_t word = reinterpret_cast<const uint32_t*>(packed)[i];
            for (int b = 0; b < 4; b++) {
                uint32_t byte = word >> (8 * b) & 255u;
                v[2 * b] = __fmul_rn(code[byte >> 4], s);
                v[2 * b + 1] = __fmul_rn(code[byte & 15u], s);
            }
            store_whole(out + i * 8, v);
        } else {
            for (int64_t at = i * 8; at < i * 8 + 8 && at < n; at++) {
                uint32_t byte = packed[at / 2];
                out[at] = narrow<T>(__fmul_rn(code[at % 2 == 0 ? byte >> 4 : byte & 15u], s));
            }
        }
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void nf4_quantize_##NAME(uint8_t* packed, float* scales, const T* weights, int64_t n) {      \
        quantize(packed, scales, weights, n);                                                                          \
    }                                                                                                                  \
    extern "C" __global__ void nf4_dequantize_##NAME(T* out, const uint8_t* packed, const float* scales, int64_t n) {  \
        dequantize(out, packed, Plain{scales}, n);                                                                     \
    }                                                                                                                  \
    extern "C" __global__ void nf4_dequantize_double_##NAME(T* out, const uint8_t* packed, const uint8_t* codes,       \
                                                            const float* map, const float* nested, float offset,       \
                                                            int64_t n) {                                               \
        dequantize(out, packed, Doubled{codes, map, nested, offset}, n);                                               \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
