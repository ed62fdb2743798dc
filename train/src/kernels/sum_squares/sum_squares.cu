// Sums of squares.
#include "common.cuh"

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
    extern "C" __global__ void squares_##NAME(double* partial, const T* x, int64_t n) { squares(partial, x, n); }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
