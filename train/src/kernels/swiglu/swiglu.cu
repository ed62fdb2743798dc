// SwiGLU and its gradients.
#include "common.cuh"

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

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void swiglu_##NAME(T* out, const T* gate, const T* up, int64_t n) {                          \
        swiglu(out, gate, up, n);                                                                                      \
    }                                                                                                                  \
    extern "C" __global__ void swiglu_grad_##NAME(T* dgate, T* dup, const T* gate, const T* up, const T* d,            \
                                              int64_t n) {                                                             \
        swiglu_grad(dgate, dup, gate, up, d, n);                                                                       \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
