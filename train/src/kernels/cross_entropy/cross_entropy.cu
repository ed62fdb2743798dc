// Softmax cross-entropy, one block a row: the row's logits become their gradient. A thread adds a few hundred terms
// in f32; the threads' sums are added in f64.
#include "common.cuh"

struct Top {
    float value;
    int64_t at;
};

// The larger, of equals the first.
__device__ inline Top larger(Top a, Top b) { return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a; }

__device__ Top top_of_block(Top t) {
    __shared__ float values[32];
    __shared__ int64_t places[32];
    for (int lane = 16; lane > 0; lane /= 2) {
        Top other;
        other.value = __shfl_xor_sync(0xffffffffu, t.value, lane);
        other.at = __shfl_xor_sync(0xffffffffu, t.at, lane);
        t = larger(t, other);
    }
    if (threadIdx.x % 32 == 0) {
        values[threadIdx.x / 32] = t.value;
        places[threadIdx.x / 32] = t.at;
    }
    __syncthreads();
    t = Top{values[0], places[0]};
    for (int warp = 1; warp < int(blockDim.x) / 32; warp++) t = larger(t, Top{values[warp], places[warp]});
    return t;
}

// `results` [rows, 4]: nll, entropy, mean logit, and 1 where the target is the most probable.
template <class T> __device__ void cross_entropy(T* logits, double* results, const uint32_t* targets, float scale, int64_t vocab) {
    __shared__ double totals[32], means[32], plains[32];
    T* row = logits + int64_t(blockIdx.x) * vocab;
    int64_t target = targets[blockIdx.x];
    Top top{-INFINITY, vocab};
    for (int64_t c = threadIdx.x; c < vocab; c += blockDim.x) {
        float x = wide(row[c]);
        if (x > top.value) top = Top{x, c};
    }
    top = top_of_block(top);
    float sum = 0.0f, weighted = 0.0f, plain = 0.0f;
    for (int64_t c = threadIdx.x; c < vocab; c += blockDim.x) {
        // Less the top, so that the sum is of numbers below 0 that fade out.
        float x = wide(row[c]) - top.value, w = expf(x);
        sum += w;
        plain += x;
        if (w != 0.0f) weighted += w * x;
    }
    double total = over_block(double(sum), Sum(), totals);
    double mean = over_block(double(weighted), Sum(), means) / total;
    double logit = over_block(double(plain), Sum(), plains) / double(vocab) + double(top.value);
    double hit = double(wide(row[target])) - double(top.value);
    // Everybody has read the target before its owner writes over it.
    __syncthreads();
    float factor = scale * float(1.0 / total);
    for (int64_t c = threadIdx.x; c < vocab; c += blockDim.x) {
        float g = factor * expf(wide(row[c]) - top.value);
        row[c] = narrow<T>(c == target ? g - scale : g);
    }
    if (threadIdx.x == 0) {
        double lse = log(total);
        double* at = results + 4 * int64_t(blockIdx.x);
        at[0] = lse - hit;
        at[1] = lse - mean;
        at[2] = logit;
        at[3] = top.at == target ? 1.0 : 0.0;
    }
}

#define BY_TYPE(NAME, T)                                                                                               \
    extern "C" __global__ void cross_entropy_##NAME(T* logits, double* results, const uint32_t* targets, float scale,     \
                                                    int64_t vocab) {                                                   \
        cross_entropy(logits, results, targets, scale, vocab);                                                            \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
