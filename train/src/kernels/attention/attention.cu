// Causal attention in tiles, in f32 arithmetic, for any width of head up to 256: mod.rs has the
// formulas, attention.cuh says what a tile is, flash.cu does the same on tensor cores where it can. 256 threads as
// 16 x 16: thread (ty, tx) has rows ty R .. ty R + R of a tile and every sixteenth column from tx, so that the sixteen
// threads of a row are half a warp.
#include "attention.cuh"

// Rows `first .. first + count` of one head to shared memory, an odd number of floats apart; zeros around them.
template <class T, int DP, int ROWS>
__device__ void load(float* to, const T* from, int64_t first, int64_t count, int heads, int head, int dim) {
    for (int i = threadIdx.x; i < ROWS * DP; i += blockDim.x) {
        int row = i / DP, c = i % DP;
        bool there = row < count && c < dim;
        to[row * (DP + 1) + c] = there ? wide(from[((first + row) * heads + head) * dim + c]) : 0.0f;
    }
}

// out[i][j] = dot(rows of a, rows of b)
template <int DP, int R, int C> __device__ void products(float (&out)[R][C], const float* a, const float* b, int ty, int tx) {
    for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++) out[i][j] = 0.0f;
    for (int d = 0; d < DP; d++) {
        float x[R], y[C];
        for (int i = 0; i < R; i++) x[i] = a[(ty * R + i) * (DP + 1) + d];
        for (int j = 0; j < C; j++) y[j] = b[(tx + 16 * j) * (DP + 1) + d];
        for (int i = 0; i < R; i++)
            for (int j = 0; j < C; j++) out[i][j] += x[i] * y[j];
    }
}

// out[i][c] += sum over n of weights[row i][n] values[n][c]; the weights lie `apart` from row to row and `along` from
// n to n.
template <int DP, int R, int N>
__device__ void weigh(float (&out)[R][DP / 16], const float* weights, int apart, int along, const float* values, int ty, int tx) {
    for (int n = 0; n < N; n++) {
        float w[R];
        for (int i = 0; i < R; i++) w[i] = weights[(ty * R + i) * apart + n * along];
        for (int c = 0; c < DP / 16; c++) {
            float v = values[n * (DP + 1) + tx + 16 * c];
            for (int i = 0; i < R; i++) out[i][c] += w[i] * v;
        }
    }
}

template <class T, int DP, int R>
__device__ void store(T* to, const float (&x)[R][DP / 16], Tile t, int heads, int head, int dim, int ty, int tx) {
    for (int i = 0; i < R; i++) {
        int64_t row = ty * R + i;
        for (int c = tx, j = 0; j < DP / 16; c += 16, j++) {
            if (row < t.rows && c < dim) to[((t.row + row) * heads + head) * dim + c] = narrow<T>(x[i][j]);
        }
    }
}

// The same in the sixteen threads of a row.
template <class Op> __device__ inline float over_row(float x, Op op) {
    for (int lane = 8; lane > 0; lane /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

// Softmax on the way (Milakov and Gimelshein 2018): sums are scaled down whenever a larger score turns up.
template <class T, int DP, int M, int N>
__device__ void forward(T* out, float* lse, Inputs<T> in, const uint32_t* tiles) {
    constexpr int R = M / 16, C = N / 16;
    extern __shared__ float shared[];
    float *qs = shared, *kv = qs + M * (DP + 1), *ps = kv + N * (DP + 1);
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16, head = blockIdx.y, hkv = in.heads / in.group;
    Tile t = tile_of(tiles);
    load<T, DP, M>(qs, in.q, t.row, t.rows, in.heads, head, in.dim);
    float acc[R][DP / 16] = {}, top[R], sum[R] = {};
    for (int i = 0; i < R; i++) top[i] = -INFINITY;
    int64_t keys = t.count + t.rows - 1, low = t.count > in.window ? t.count - in.window : 0;
    for (int64_t start = low; start < keys; start += N) {
        __syncthreads();
        load<T, DP, N>(kv, in.k, t.other + start, keys - start, hkv, head / in.group, in.dim);
        __syncthreads();
        float s[R][C];
        products<DP>(s, qs, kv, ty, tx);
        for (int i = 0; i < R; i++) {
            float most = top[i];
            for (int j = 0; j < C; j++) {
                int64_t ahead = t.count + ty * R + i - (start + tx + 16 * j);
                s[i][j] = ahead > 0 && ahead <= in.window ? capped(s[i][j] * in.scale, in.cap) : -INFINITY;
                most = fmaxf(most, s[i][j]);
            }
            // Minus infinity until the first tile with a key that the query sees.
            most = over_row(most, Largest());
            bool any = most > -INFINITY;
            float fade = any ? expf(top[i] - most) : 1.0f, total = 0.0f;
            for (int j = 0; j < C; j++) {
                float p = any ? expf(s[i][j] - most) : 0.0f;
                ps[(ty * R + i) * (N + 1) + tx + 16 * j] = p;
                total += p;
            }
            sum[i] = sum[i] * fade + over_row(total, Sum());
            top[i] = most;
            for (int c = 0; c < DP / 16; c++) acc[i][c] *= fade;
        }
        __syncthreads();
        load<T, DP, N>(kv, in.v, t.other + start, keys - start, hkv, head / in.group, in.dim);
        __syncthreads();
        weigh<DP, R, N>(acc, ps, N + 1, 1, kv, ty, tx);
    }
    for (int i = 0; i < R; i++) {
        for (int c = 0; c < DP / 16; c++) acc[i][c] /= sum[i];
        if (tx == 0 && ty * R + i < t.rows) lse[(t.row + ty * R + i) * in.heads + head] = top[i] + logf(sum[i]);
    }
    store<T, DP>(out, acc, t, in.heads, head, in.dim, ty, tx);
}

// P and scale P (dP - delta) of a tile, from the raw scores in `s` and dP in `d`, in place. `first` is the query of
// row 0 less the key of column 0, both counted from where the document begins.
template <class T, int R, int C>
__device__ void probabilities(float (&s)[R][C], float (&d)[R][C], Inputs<T> in, Gradient<T> g, int64_t row, int64_t rows,
                              int64_t first, int head, int ty, int tx) {
    // Unrolled, or the arrays would lie in memory.
#pragma unroll
    for (int i = 0; i < R; i++) {
        bool there = ty * R + i < rows;
        int64_t at = (row + ty * R + i) * in.heads + head;
        float lse = there ? g.lse[at] : 0.0f, delta = there ? g.delta[at] : 0.0f;
#pragma unroll
        for (int j = 0; j < C; j++) {
            int64_t ahead = first + ty * R + i - (tx + 16 * j);
            bool seen = there && ahead >= 0 && ahead < in.window;
            float y = capped(s[i][j] * in.scale, in.cap);
            s[i][j] = seen ? expf(y - lse) : 0.0f;
            d[i][j] = s[i][j] * (d[i][j] - delta) * in.scale * slope(y, in.cap);
        }
    }
}

template <int R, int C> __device__ void keep(float* to, const float (&x)[R][C], int apart, int ty, int tx) {
    for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++) to[(ty * R + i) * apart + tx + 16 * j] = x[i][j];
}

// One block a tile of queries and a head.
template <class T, int DP, int M>
__device__ void backward_q(T* dq, Inputs<T> in, Gradient<T> g, const uint32_t* tiles) {
    constexpr int R = M / 16;
    extern __shared__ float shared[];
    float *qs = shared, *os = qs + M * (DP + 1), *ks = os + M * (DP + 1), *vs = ks + M * (DP + 1), *ds = vs + M * (DP + 1);
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16, head = blockIdx.y, hkv = in.heads / in.group;
    Tile t = tile_of(tiles);
    load<T, DP, M>(qs, in.q, t.row, t.rows, in.heads, head, in.dim);
    load<T, DP, M>(os, g.dout, t.row, t.rows, in.heads, head, in.dim);
    float acc[R][DP / 16] = {};
    int64_t keys = t.count + t.rows - 1, low = t.count > in.window ? t.count - in.window : 0;
    for (int64_t start = low; start < keys; start += M) {
        __syncthreads();
        load<T, DP, M>(ks, in.k, t.other + start, keys - start, hkv, head / in.group, in.dim);
        load<T, DP, M>(vs, in.v, t.other + start, keys - start, hkv, head / in.group, in.dim);
        __syncthreads();
        float s[R][R], d[R][R];
        products<DP>(s, qs, ks, ty, tx);
        products<DP>(d, os, vs, ty, tx);
        probabilities(s, d, in, g, t.row, t.rows, t.count - 1 - start, head, ty, tx);
        keep(ds, d, M + 1, ty, tx);
        __syncthreads();
        weigh<DP, R, M>(acc, ds, M + 1, 1, ks, ty, tx);
    }
    store<T, DP>(dq, acc, t, in.heads, head, in.dim, ty, tx);
}

// One block a tile of keys and a head of keys, over the query heads that it serves and the queries that see it.
template <class T, int DP, int M>
__device__ void backward_kv(T* dk, T* dv, Inputs<T> in, Gradient<T> g, const uint32_t* tiles) {
    constexpr int R = M / 16;
    extern __shared__ float shared[];
    float *ks = shared, *vs = ks + M * (DP + 1), *qs = vs + M * (DP + 1), *os = qs + M * (DP + 1);
    float *ps = os + M * (DP + 1), *ds = ps + M * (M + 1);
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16, hkv = in.heads / in.group;
    Tile t = tile_of(tiles);
    load<T, DP, M>(ks, in.k, t.row, t.rows, hkv, blockIdx.y, in.dim);
    load<T, DP, M>(vs, in.v, t.row, t.rows, hkv, blockIdx.y, in.dim);
    float key[R][DP / 16] = {}, value[R][DP / 16] = {};
    for (int member = 0; member < in.group; member++) {
        int head = int(blockIdx.y) * in.group + member;
        // Queries from there on are beyond the window of the tile's last key.
        for (int64_t start = 0; start < t.count && t.ahead + start - (M - 1) < in.window; start += M) {
            __syncthreads();
            load<T, DP, M>(qs, in.q, t.other + start, t.count - start, in.heads, head, in.dim);
            load<T, DP, M>(os, g.dout, t.other + start, t.count - start, in.heads, head, in.dim);
            __syncthreads();
            float s[R][R], d[R][R];
            products<DP>(s, qs, ks, ty, tx);
            products<DP>(d, os, vs, ty, tx);
            probabilities(s, d, in, g, t.other + start, t.count - start, t.ahead + start, head, ty, tx);
            keep(ps, s, M + 1, ty, tx);
            keep(ds, d, M + 1, ty, tx);
            __syncthreads();
            weigh<DP, R, M>(value, ps, 1, M + 1, os, ty, tx);
            weigh<DP, R, M>(key, ds, 1, M + 1, qs, ty, tx);
        }
    }
    store<T, DP>(dk, key, t, hkv, blockIdx.y, in.dim, ty, tx);
    store<T, DP>(dv, value, t, hkv, blockIdx.y, in.dim, ty, tx);
}

// delta [T, heads]: a warp each.
template <class T> __device__ void rowsum(float* delta, const T* dout, const T* out, int dim, int64_t n) {
    int64_t at = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (at >= n) return;
    float sum = 0.0f;
    for (int c = threadIdx.x % 32; c < dim; c += 32) sum += wide(dout[at * dim + c]) * wide(out[at * dim + c]);
    sum = over_warp(sum, Sum());
    if (threadIdx.x % 32 == 0) delta[at] = sum;
}

// Tiles of M queries by N keys forward, B by B backward: as large as 99 KiB of shared memory allow, which every GPU
// since Ampere has. cuda.rs has the same numbers.
#define BY_WIDTH(NAME, T, DP, M, N, B)                                                                                 \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_##DP##_##NAME(T* out, float* lse, const T* q, const T* k, const T* v, const uint32_t* tiles,         \
                                int32_t heads, int32_t group, int32_t dim, float scale, float cap, int64_t window) {   \
        forward<T, DP, M, N>(out, lse, Inputs<T>{q, k, v, heads, group, dim, scale, cap, window}, tiles);              \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_grad_q_##DP##_##NAME(T* dq, const T* q, const T* k, const T* v, const T* dout, const float* lse,     \
                                       const float* delta, const uint32_t* tiles, int32_t heads, int32_t group,        \
                                       int32_t dim, float scale, float cap, int64_t window) {                          \
        backward_q<T, DP, B>(dq, Inputs<T>{q, k, v, heads, group, dim, scale, cap, window},                            \
                             Gradient<T>{dout, lse, delta}, tiles);                                                    \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        attention_grad_kv_##DP##_##NAME(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout,               \
                                        const float* lse, const float* delta, const uint32_t* tiles, int32_t heads,    \
                                        int32_t group, int32_t dim, float scale, float cap, int64_t window) {          \
        backward_kv<T, DP, B>(dk, dv, Inputs<T>{q, k, v, heads, group, dim, scale, cap, window},                       \
                              Gradient<T>{dout, lse, delta}, tiles);                                                   \
    }

#define BY_TYPE(NAME, T)                                                                                               \
    BY_WIDTH(NAME, T, 64, 64, 64, 64)                                                                                  \
    BY_WIDTH(NAME, T, 128, 64, 64, 32)                                                                                 \
    BY_WIDTH(NAME, T, 256, 32, 32, 16)                                                                                 \
    extern "C" __global__ void attention_delta_##NAME(float* delta, const T* dout, const T* out, int32_t dim,          \
                                                      int64_t n) {                                                     \
        rowsum(delta, dout, out, dim, n);                                                                              \
    }

BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
