// AdamW: mod.rs says which rule is whose. Rounded as there, step by step.
#include "common.cuh"

// Worked out in f64 on the host.
struct Factors {
    float decay, b1, b2, one_b1, one_b2, step, root, eps, grad;
};

// a b + c, rounded once.
__device__ inline float fused(float a, float b, float c) { return float(double(a) * double(b) + double(c)); }

__device__ inline float second(const Factors& f, float v, float g) {
    return fused(__fmul_rn(f.one_b2, g), g, __fmul_rn(f.b2, v));
}

// p decay + step m / (sqrt(v) / root + eps)
__device__ inline float moved(const Factors& f, float p, float m, float v) {
    float by = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), f.root), f.eps);
    return __fadd_rn(__fmul_rn(p, f.decay), __fdiv_rn(__fmul_rn(f.step, m), by));
}

template <class P> __device__ void adamw(P* p, float* m, float* v, const float* grad, Factors f, int64_t n) {
    // m + (1 - b1) (g - m), from the nearer end.
    bool near = fabsf(f.one_b1) < 0.5f;
    float weight = near ? f.one_b1 : __fadd_rn(f.one_b1, -1.0f);
    EACH(i, n) {
        float g = __fmul_rn(grad[i], f.grad), old = m[i];
        float first = fused(weight, __fadd_rn(g, -old), near ? old : g), square = second(f, v[i], g);
        m[i] = first;
        v[i] = square;
        p[i] = narrow<P>(moved(f, wide(p[i]), first, square));
    }
}

// As bitsandbytes does it in 32 bits: here `step` and `eps` hold c2 too.
template <class P> __device__ void adamw_32bit(P* p, float* m, float* v, const float* grad, Factors f, int64_t n) {
    EACH(i, n) {
        float g = __fmul_rn(grad[i], f.grad);
        float first = fused(f.one_b1, g, __fmul_rn(f.b1, m[i])), square = second(f, v[i], g);
        m[i] = first;
        v[i] = square;
        float ratio = __fdiv_rn(first, __fadd_rn(__fsqrt_rn(square), f.eps));
        p[i] = narrow<P>(fused(f.step, ratio, __fmul_rn(wide(p[i]), f.decay)));
    }
}

// How many middles lie below place `x` of 65536 between -1 and 1: kernels/dynamic_quant.rs.
__device__ inline uint8_t code_of(const float* middles, float x) {
    float at = __fadd_rn(__fmul_rn(__fadd_rn(fminf(fmaxf(x, -1.0f), 1.0f), 1.0f) * 0.5f, 65535.0f), 0.5f);
    uint32_t place = min(uint32_t(at), 65535u);
    float value = __fadd_rn(-1.0f, __fdiv_rn(2.0f * float(place), 65535.0f));
    int low = 0, high = 255;
    while (low < high) {
        int middle = (low + high) / 2;
        if (middles[middle] < value) low = middle + 1;
        else high = middle;
    }
    return uint8_t(low);
}

__device__ inline bool is_finite(float x) { return fabsf(x) < INFINITY; }

// One block of threads a block of 256 elements.
template <class P>
__device__ void adamw_8bit(P* p, uint8_t* m8, float* m_scale, uint8_t* v8, float* v_scale, const float* grad,
                           const float* signed_map, const float* unsigned_map, Factors f, int64_t n) {
    __shared__ float values[2][256], middles[2][256], parts[2][32];
    int t = threadIdx.x;
    values[0][t] = signed_map[t];
    values[1][t] = unsigned_map[t];
    __syncthreads();
    for (int map = 0; map < 2; map++) {
        middles[map][t] = t < 255 ? __fmul_rn(0.5f, __fadd_rn(values[map][t], values[map][t + 1])) : INFINITY;
    }
    int64_t block = blockIdx.x, i = block * 256 + t;
    float m = 0.0f, v = 0.0f;
    if (i < n) {
        float g = __fmul_rn(grad[i], f.grad);
        if (is_finite(g)) {
            m = fused(f.one_b1, g, __fmul_rn(f.b1, __fmul_rn(values[0][m8[i]], m_scale[block])));
            v = second(f, __fmul_rn(values[1][v8[i]], v_scale[block]), g);
            p[i] = narrow<P>(moved(f, wide(p[i]), m, v));
        }
    }
    // The barriers inside also let every thread read the old scales before the first writes new ones.
    float tops[2] = {over_block(fabsf(m), Largest(), parts[0]), over_block(fabsf(v), Largest(), parts[1])};
    float moments[2] = {m, v};
    uint8_t* codes[2] = {m8, v8};
    float* scales[2] = {m_scale, v_scale};
    for (int map = 0; map < 2; map++) {
        float inverse = __fdiv_rn(1.0f, tops[map]);
        bool usable = is_finite(inverse);
        if (i < n) codes[map][i] = usable ? code_of(middles[map], __fmul_rn(moments[map], inverse)) : uint8_t(0);
        if (t == 0) scales[map][block] = usable ? tops[map] : 0.0f;
    }
}

#define FACTORS                                                                                                        \
    float decay, float b1, float b2, float one_b1, float one_b2, float step, float root, float eps, float grad
#define PACKED Factors{decay, b1, b2, one_b1, one_b2, step, root, eps, grad}

#define BY_TYPE(NAME, P)                                                                                               \
    extern "C" __global__ void adamw_##NAME(P* p, float* m, float* v, const float* g, FACTORS, int64_t n) {            \
        adamw(p, m, v, g, PACKED, n);                                                                                  \
    }                                                                                                                  \
    extern "C" __global__ void adamw_32bit_##NAME(P* p, float* m, float* v, const float* g, FACTORS, int64_t n) {      \
        adamw_32bit(p, m, v, g, PACKED, n);                                                                            \
    }                                                                                                                  \
    extern "C" __global__ void adamw_8bit_##NAME(P* p, uint8_t* m8, float* m_scale, uint8_t* v8, float* v_scale,       \
                                                 const float* g, const float* signed_map, const float* unsigned_map,   \
                                                 FACTORS, int64_t n) {                                                 \
        adamw_8bit(p, m8, m_scale, v8, v_scale, g, signed_map, unsigned_map, PACKED, n);                               \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
