// Causal attention in bf16 on tensor cores, for heads 64 or 128 wide (Dao et al. 2022, Dao 2023): mod.rs has the
// formulas, attention.cuh says what a tile is, attention.cu computes everything else.
//
// A block is four warps, and each has sixteen rows of the tile: queries in the forward pass and for dQ, keys for dK
// and dV. What the rows are held against passes by in pieces, of which the next is on its way while one is computed
// with. Scores, and what becomes of them, never leave registers: as a product they lie the way in which the next product
// takes its left side, rounded to bf16. dQ and the pair of dK and dV are two kernels that make the scores again, so that
// every sum has one owner and one order; adding up dQ atomically would save two of seven products and change the
// last digits from run to run.
#include "attention.cuh"
#include "mma.cuh"
#include "swizzle.cuh"

constexpr int WARPS = 4;
constexpr int ROWS = 16 * WARPS;
constexpr float LOG2E = 1.44269504088896f;

// N rows of one head from row `first` on, of which `count` are there; zeros for the rest.
template <int D, int N>
__device__ inline void fetch(bf16* to, const bf16* from, int64_t first, int64_t count, int heads, int head) {
    // A thread has the same chunk of every STEP-th row, so one address serves for all and the loop has no end to ask for.
    constexpr int STEP = 32 * WARPS / (D / 8);
    static_assert(N % STEP == 0 && 32 * WARPS % (D / 8) == 0, "rows are divided evenly among threads");
    int row = threadIdx.x / (D / 8), chunk = threadIdx.x % (D / 8);
    const bf16* base = from + (first * heads + head) * D + chunk * 8;
    int64_t apart = int64_t(heads) * D;
#pragma unroll
    for (int i = 0; i < N / STEP; i++) {
        bool there = row + i * STEP < count;
        copy_async(cell<D>(to, row + i * STEP, chunk), there ? base + (row + i * STEP) * apart : base, there);
    }
}

// out += sixteen rows of `a` from `row` on, by all C * 8 rows of `b`: dot products of whole rows.
template <int D, int C> __device__ inline void rows_by_rows(float (&out)[C][4], bf16* a, int row, bf16* b) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t x[4];
        load_matrices(x, cell<D>(a, row + lane % 16, 2 * k + lane / 16));
#pragma unroll
        for (int n = 0; n < C / 2; n++) {
            uint32_t y[4];
            load_matrices(y, cell<D>(b, 16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
            multiply(out[2 * n], x, y[0], y[1]);
            multiply(out[2 * n + 1], x, y[2], y[3]);
        }
    }
}

// out += weights [16, C * 8] by the C * 8 rows of `values`.
template <int D, int C> __device__ inline void weigh(float (&out)[D / 8][4], const float (&weights)[C][4], bf16* values) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < C / 2; k++) {
        const float *a = weights[2 * k], *b = weights[2 * k + 1];
        uint32_t x[4] = {pack(a[0], a[1]), pack(a[2], a[3]), pack(b[0], b[1]), pack(b[2], b[3])};
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            uint32_t y[4];
            load_transposed(y, cell<D>(values, 16 * k + lane % 16, 2 * n + lane / 16));
            multiply(out[2 * n], x, y[0], y[1]);
            multiply(out[2 * n + 1], x, y[2], y[3]);
        }
    }
}

// The warp's sixteen rows of a result, by way of its own sixteen rows of `tile`, which nobody else reads.
template <int D>
__device__ inline void store(bf16* to, bf16* tile, const float (&x)[D / 8][4], float scale, Tile t, int heads, int head) {
    int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            bf16* at = cell<D>(tile, first + lane / 4 + 8 * half, n) + 2 * (lane % 4);
            *reinterpret_cast<uint32_t*>(at) = pack(x[n][2 * half] * scale, x[n][2 * half + 1] * scale);
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * (D / 8); i += 32) {
        int row = first + i / (D / 8), chunk = i % (D / 8);
        if (row >= t.rows) continue;
        bf16* at = to + ((t.row + row) * heads + head) * D + chunk * 8;
        *reinterpret_cast<uint4*>(at) = *reinterpret_cast<const uint4*>(cell<D>(tile, row, chunk));
    }
}

// The same in the four lanes of a row.
template <class Op> __device__ inline float over_row(float x, Op op) {
    x = op(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return op(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

template <int D, int N> __device__ void forward(bf16* out, float* lse, Inputs<bf16> in, const uint32_t* tiles) {
    extern __shared__ uint4 shared[];
    bf16* qs = reinterpret_cast<bf16*>(shared);
    auto piece = [&](int i) { return qs + (ROWS + 2 * N * i) * D; };
    int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16, row = first + lane / 4;
    int head = blockIdx.y, hkv = in.heads / in.group, khead = head / in.group;
    Tile t = tile_of(tiles);
    int keys = int(t.count + t.rows) - 1;
    fetch<D, ROWS>(qs, in.q, t.row, t.rows, in.heads, head);
    fetch<D, N>(piece(0), in.k, t.other, keys, hkv, khead);
    fetch<D, N>(piece(0) + N * D, in.v, t.other, keys, hkv, khead);
    copies_end();
    float acc[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    float scale = in.scale * LOG2E;
    for (int start = 0, now = 0; start < keys; start += N, now ^= 1) {
        copies_wait<0>();
        __syncthreads();
        // Whoever computed with the other piece has passed the barrier.
        if (start + N < keys) {
            fetch<D, N>(piece(now ^ 1), in.k, t.other + start + N, keys - start - N, hkv, khead);
            fetch<D, N>(piece(now ^ 1) + N * D, in.v, t.other + start + N, keys - start - N, hkv, khead);
            copies_end();
        }
        float s[N / 8][4] = {};
        rows_by_rows<D>(s, qs, first, piece(now));
        // The first of the warp's rows does not see all of the piece.
        if (start + N > int(t.count) + first) {
            int seen = int(t.count) + row - start - 2 * (lane % 4);
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if (8 * j + e % 2 >= seen + e / 2 * 8) s[j][e] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = top[half];
#pragma unroll
            for (int j = 0; j < N / 8; j++) most = fmaxf(most, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
            // Every query sees the first key, so this is finite from the first piece on.
            most = over_row(most, Largest());
            float fade = power_of_two((top[half] - most) * scale), shift = most * scale, total = 0.0f;
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    s[j][e] = power_of_two(s[j][e] * scale - shift);
                    total += s[j][e];
                }
            }
            sum[half] = sum[half] * fade + total;
            top[half] = most;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                acc[n][2 * half] *= fade;
                acc[n][2 * half + 1] *= fade;
            }
        }
        weigh<D>(acc, s, piece(now) + N * D);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sum[half] = over_row(sum[half], Sum());
        float inverse = 1.0f / sum[half];
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            acc[n][2 * half] *= inverse;
            acc[n][2 * half + 1] *= inverse;
        }
        int at = row + 8 * half;
        if (lane % 4 == 0 && at < t.rows) lse[(t.row + at) * in.heads + head] = top[half] * in.scale + logf(sum[half]);
    }
    store<D>(out, qs, acc, 1.0f, t, in.heads, head);
}

// One block a tile of queries and a head; keys and values pass by, N at a time.
template <int D, int N>
__device__ void backward_q(bf16* dq, Inputs<bf16> in, Gradient<bf16> g, const uint32_t* tiles) {
    extern __shared__ uint4 shared[];
    bf16 *qs = reinterpret_cast<bf16*>(shared), *os = qs + ROWS * D;
    auto piece = [&](int i) { return os + (ROWS + 2 * N * i) * D; };
    int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16, row = first + lane / 4;
    int head = blockIdx.y, hkv = in.heads / in.group, khead = head / in.group;
    Tile t = tile_of(tiles);
    int keys = int(t.count + t.rows) - 1;
    fetch<D, ROWS>(qs, in.q, t.row, t.rows, in.heads, head);
    fetch<D, ROWS>(os, g.dout, t.row, t.rows, in.heads, head);
    fetch<D, N>(piece(0), in.k, t.other, keys, hkv, khead);
    fetch<D, N>(piece(0) + N * D, in.v, t.other, keys, hkv, khead);
    copies_end();
    float lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        bool there = row + 8 * half < t.rows;
        int64_t at = (t.row + row + 8 * half) * in.heads + head;
        // A row that is not there has probabilities of 0.
        lse[half] = there ? g.lse[at] * LOG2E : INFINITY;
        delta[half] = there ? g.delta[at] : 0.0f;
    }
    float acc[D / 8][4] = {}, scale = in.scale * LOG2E;
    for (int start = 0, now = 0; start < keys; start += N, now ^= 1) {
        copies_wait<0>();
        __syncthreads();
        if (start + N < keys) {
            fetch<D, N>(piece(now ^ 1), in.k, t.other + start + N, keys - start - N, hkv, khead);
            fetch<D, N>(piece(now ^ 1) + N * D, in.v, t.other + start + N, keys - start - N, hkv, khead);
            copies_end();
        }
        float s[N / 8][4] = {}, d[N / 8][4] = {};
        rows_by_rows<D>(s, qs, first, piece(now));
        rows_by_rows<D>(d, os, first, piece(now) + N * D);
        int seen = int(t.count) + row - start - 2 * (lane % 4);
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float p = power_of_two(s[j][e] * scale - lse[e / 2]);
                d[j][e] = 8 * j + e % 2 < seen + e / 2 * 8 ? p * (d[j][e] - delta[e / 2]) : 0.0f;
            }
        }
        weigh<D>(acc, d, piece(now));
    }
    store<D>(dq, qs, acc, in.scale, t, in.heads, head);
}

// One block a tile of keys and a head of keys; queries and dO of the heads that it serves pass by, N at a time. Scores
// lie transposed, a row a key.
template <int D, int N>
__device__ void backward_kv(bf16* dk, bf16* dv, Inputs<bf16> in, Gradient<bf16> g, const uint32_t* tiles) {
    extern __shared__ uint4 shared[];
    bf16 *ks = reinterpret_cast<bf16*>(shared), *vs = ks + ROWS * D;
    auto piece = [&](int i) { return vs + (ROWS + 2 * N * i) * D; };
    float* said = reinterpret_cast<float*>(vs + (ROWS + 4 * N) * D);
    int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16, row = first + lane / 4;
    int hkv = in.heads / in.group, khead = blockIdx.y;
    Tile t = tile_of(tiles);
    int queries = int(t.count), steps = (queries + N - 1) / N;
    // The one after the other, `steps` a head.
    auto fetch_piece = [&](int i, int to) {
        int head = khead * in.group + i / steps, start = i % steps * N;
        fetch<D, N>(piece(to), in.q, t.other + start, queries - start, in.heads, head);
        fetch<D, N>(piece(to) + N * D, g.dout, t.other + start, queries - start, in.heads, head);
        copies_end();
        if (threadIdx.x < N) {
            bool there = start + int(threadIdx.x) < queries;
            int64_t at = (t.other + start + threadIdx.x) * in.heads + head;
            said[2 * N * to + threadIdx.x] = there ? g.lse[at] * LOG2E : INFINITY;
            said[2 * N * to + N + threadIdx.x] = there ? g.delta[at] : 0.0f;
        }
    };
    fetch<D, ROWS>(ks, in.k, t.row, t.rows, hkv, khead);
    fetch<D, ROWS>(vs, in.v, t.row, t.rows, hkv, khead);
    fetch_piece(0, 0);
    float key[D / 8][4] = {}, value[D / 8][4] = {}, scale = in.scale * LOG2E;
    for (int i = 0, now = 0; i < steps * in.group; i++, now ^= 1) {
        copies_wait<0>();
        __syncthreads();
        if (i + 1 < steps * in.group) fetch_piece(i + 1, now ^ 1);
        const float *lse = said + 2 * N * now + 2 * (lane % 4), *delta = lse + N;
        float s[N / 8][4] = {}, d[N / 8][4] = {};
        rows_by_rows<D>(s, ks, first, piece(now));
        // Query c sees the key of `row` if row <= ahead + start + c.
        int sees = row - int(t.ahead) - i % steps * N - 2 * (lane % 4);
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float p = power_of_two(s[j][e] * scale - lse[8 * j + e % 2]);
                s[j][e] = 8 * j + e % 2 >= sees + e / 2 * 8 ? p : 0.0f;
            }
        }
        weigh<D>(value, s, piece(now) + N * D);
        rows_by_rows<D>(d, vs, first, piece(now) + N * D);
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) d[j][e] = s[j][e] * (d[j][e] - delta[8 * j + e % 2]);
        }
        weigh<D>(key, d, piece(now));
    }
    store<D>(dk, ks, key, in.scale, t, hkv, khead);
    store<D>(dv, vs, value, 1.0f, t, hkv, khead);
}

// Pieces of F rows forward, Q for dQ and K for dK and dV; flash.rs in this folder has the same numbers.
#define BY_WIDTH(D, F, Q, K)                                                                                           \
    extern "C" __global__ void __launch_bounds__(128)                                                                  \
        flash_##D(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v, const uint32_t* tiles,           \
                  int32_t heads, int32_t group, float scale) {                                                         \
        forward<D, F>(out, lse, Inputs<bf16>{q, k, v, heads, group, D, scale}, tiles);                                 \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128)                                                                  \
        flash_grad_q_##D(bf16* dq, const bf16* q, const bf16* k, const bf16* v, const bf16* dout, const float* lse,    \
                         const float* delta, const uint32_t* tiles, int32_t heads, int32_t group, float scale) {       \
        backward_q<D, Q>(dq, Inputs<bf16>{q, k, v, heads, group, D, scale}, Gradient<bf16>{dout, lse, delta}, tiles);  \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128)                                                                  \
        flash_grad_kv_##D(bf16* dk, bf16* dv, const bf16* q, const bf16* k, const bf16* v, const bf16* dout,           \
                          const float* lse, const float* delta, const uint32_t* tiles, int32_t heads, int32_t group,   \
                          float scale) {                                                                               \
        backward_kv<D, K>(dk, dv, Inputs<bf16>{q, k, v, heads, group, D, scale}, Gradient<bf16>{dout, lse, delta},     \
                          tiles);                                                                                      \
    }

BY_WIDTH(64, 64, 64, 64)
BY_WIDTH(128, 64, 32, 32)
