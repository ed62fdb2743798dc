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

// A logit as the softmax has it: c tanh(x / c) with a soft cap c, itself where c is 0.
__device__ inline float capped(float x, float cap) { return cap > 0.0f ? cap * tanhf(x / cap) : x; }

// What a thread has seen of a row: the largest logit, the sums of e^(x - largest) and of that times (x - largest).
struct Seen {
    Top top;
    float sum, weighted;

    // Hold the sums against a larger top.
    __device__ void raise(Top to) {
        float down = top.value - to.value, fade = expf(down);
        // Before anything was summed, `down` may be minus infinity.
        if (sum != 0.0f) weighted = (weighted + sum * down) * fade;
        sum *= fade;
        top = to;
    }
};

// Two passes over the row: one reads it, one turns it into its gradient. `results` [rows, 4]: nll, entropy, mean logit, and 1
// where the target is the most probable.
template <class T>
__device__ void cross_entropy(T* logits, double* results, const uint32_t* targets, float scale, float cap, int64_t vocab) {
    __shared__ double totals[32], means[32], plains[32];
    T* row = logits + int64_t(blockIdx.x) * vocab;
    bool fits = aligned(row);
    int64_t target = targets[blockIdx.x];
    Seen seen{{-INFINITY, vocab}, 0.0f, 0.0f};
    float plain = 0.0f;
    EACH_PIECE_OF_ROW(piece, vocab, fits) {
        float v[8];
        load8(v, row, piece);
        for (int e = 0; e < 8; e++) v[e] = capped(v[e], cap);
        Top most = seen.top;
        for (int e = 0; e < 8; e++) {
            if (e < piece.count && v[e] > most.value) most = Top{v[e], piece.at + e};
        }
        if (most.value > seen.top.value) seen.raise(most);
        for (int e = 0; e < 8; e++) {
            if (e >= piece.count) continue;
            float x = v[e] - seen.top.value, w = expf(x);
            seen.sum += w;
            plain += v[e];
            if (w != 0.0f) seen.weighted += w * x;
        }
    }
    Top top = top_of_block(seen.top);
    if (seen.sum != 0.0f) seen.raise(top);
    double total = over_block(double(seen.sum), Sum(), totals);
    double mean = over_block(double(seen.weighted), Sum(), means) / total;
    double logit = over_block(double(plain), Sum(), plains) / double(vocab);
    double hit = double(capped(wide(row[target]), cap)) - double(top.value);
    // Everybody has read the target before its owner writes over it.
    __syncthreads();
    float factor = scale * float(1.0 / total);
    EACH_PIECE_OF_ROW(piece, vocab, fits) {
        float v[8];
        load8(v, row, piece);
        for (int e = 0; e < 8; e++) {
            float y = capped(v[e], cap), t = cap > 0.0f ? y / cap : 0.0f;
            v[e] = factor * expf(y - top.value);
            if (piece.at + e == target) v[e] -= scale;
            v[e] *= 1.0f - t * t;
        }
        store8(row, v, piece);
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
    extern "C" __global__ void cross_entropy_##NAME(T* logits, double* results, const uint32_t* targets, float scale,  \
                                                    float cap, int64_t vocab) {                                        \
        cross_entropy(logits, results, targets, scale, cap, vocab);                                                    \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
