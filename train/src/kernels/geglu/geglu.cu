// GEGLU and its gradients.
#include "common.cuh"

// p of mod.rs.
__device__ inline float share(float x) { return 1.0f / (1.0f + expf(-1.5957691216f * x * (1.0f + 0.044715f * x * x))); }

template <class T> __device__ void geglu(T* __restrict__ out, const T* __restrict__ gate, const T* __restrict__ up, int64_t n) {
    EACH_PIECE(piece, n, aligned(out, gate, up)) {
        float g[8], u[8];
        load8(g, gate, piece);
        load8(u, up, piece);
        for (int e = 0; e < 8; e++) g[e] = g[e] * share(g[e]) * u[e];
        store8(out, g, piece);
    }
}

// In place: the gradients of gate and up, and the product where its gradient was.
template <class T> __device__ void geglu_grad(T* __restrict__ gate, T* __restrict__ up, T* __restrict__ d, int64_t n) {
    EACH_PIECE(piece, n, aligned(gate, up, d)) {
        float g[8], u[8], o[8];
        load8(g, gate, piece);
        load8(u, up, piece);
        load8(o, d, piece);
        for (int e = 0; e < 8; e++) {
            float x = g[e], w = u[e], dout = o[e], p = share(x);
            o[e] = x * p * w;
            u[e] = dout * x * p;
            g[e] = dout * w * (p + x * p * (1.0f - p) * 1.5957691216f * (1.0f + 3.0f * 0.044715f * x * x));
        }
        store8(gate, g, piece);
        store8(up, u, piece);
        store8(d, o, piece);
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void geglu_##NAME(T* out, const T* gate, const T* up, int64_t n) { geglu(out, gate, up, n); }\
    extern "C" __global__ void geglu_grad_##NAME(T* gate, T* up, T* d, int64_t n) { geglu_grad(gate, up, d, n); }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
