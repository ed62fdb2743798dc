// Rotary embedding in place.
#include "common.cuh"

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
    extern "C" __global__ void rope_f32_##NAME(float* x, const T* cosine, const T* sine, int32_t heads, int32_t half,  \
                                           float sign, int64_t n) {                                                    \
        rope(x, cosine, sine, heads, half, sign, n);                                                                   \
    }                                                                                                                  \
    extern "C" __global__ void rope_bf16_##NAME(bf16* x, const T* cosine, const T* sine, int32_t heads, int32_t half,  \
                                            float sign, int64_t n) {                                                   \
        rope(x, cosine, sine, heads, half, sign, n);                                                                   \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
