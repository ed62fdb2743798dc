// Products of an adapter whose input is masked: mod.rs has the formulas. The mask is made where its elements are in
// registers, from the same bits as dropout.cu's, and what is masked is rounded to bf16 as there.
//
// A block is four warps; a tile is 64 rows or columns, so that rows of tiles are 64 wide in shared memory.
#include "mask.cuh"
#include "mma.cuh"
#include "swizzle.cuh"

constexpr int TILE = 64;
constexpr int STAGES = 3;
constexpr int COLUMNS = 4;
constexpr int THREADS = 128;

// `N` rows of 64 from row `first`, column `column` on of a matrix whose rows are `width` wide; zeros beyond row `rows`.
template <int N> __device__ inline void fetch(bf16* to, const bf16* from, int first, int rows, int width, int column) {
    constexpr int STEP = THREADS / 8;
    static_assert(N % STEP == 0, "rows are divided evenly among threads");
    int row = threadIdx.x / 8, chunk = threadIdx.x % 8;
#pragma unroll
    for (int i = 0; i < N / STEP; i++) {
        int at = first + row + i * STEP;
        bool there = at < rows;
        copy_async(cell<TILE>(to, row + i * STEP, chunk), from + int64_t(there ? at : 0) * width + column + chunk * 8, there);
    }
}

// `N` rows of R from row `first` on, in rows of 64 of which R are used; zeros beyond row `rows`.
template <int R, int N> __device__ inline void fetch_narrow(bf16* to, const bf16* from, int first, int rows) {
    for (int i = threadIdx.x; i < N * (R / 8); i += THREADS) {
        int row = i / (R / 8), chunk = i % (R / 8), at = first + row;
        bool there = at < rows;
        copy_async(cell<TILE>(to, row, chunk), from + int64_t(there ? at : 0) * R + chunk * 8, there);
    }
}

__device__ inline float low(uint32_t both) { return __uint_as_float(both << 16); }
__device__ inline float high(uint32_t both) { return __uint_as_float(both & 0xffff0000u); }

struct Mask {
    uint64_t key;
    uint32_t limit;
    float scale;

    __device__ float operator()(float x, uint32_t element) const {
        return mask_bits(key, element) >= limit ? __fmul_rn(x, scale) : 0.0f;
    }
    // Of two in a register.
    __device__ uint32_t operator()(uint32_t both, uint32_t first, uint32_t second) const {
        return pack((*this)(low(both), first), (*this)(high(both), second));
    }
};

// y [rows, R] = (D * x) a^T. A warp has sixteen rows; the columns of x and a pass by.
template <int R> __device__ void masked_linear(bf16* y, const bf16* x, const bf16* a, Mask mask, int rows, int width) {
    extern __shared__ uint4 shared[];
    bf16* tiles = reinterpret_cast<bf16*>(shared);
    auto of_x = [&](int i) { return tiles + i * (TILE + R) * TILE; };
    auto of_a = [&](int i) { return of_x(i) + TILE * TILE; };
    int first = blockIdx.x * TILE, lane = threadIdx.x % 32, own = threadIdx.x / 32 * 16, steps = width / TILE;
    auto begin = [&](int step) {
        if (step < steps) {
            fetch<TILE>(of_x(step % STAGES), x, first, rows, width, step * TILE);
            fetch<R>(of_a(step % STAGES), a, 0, R, width, step * TILE);
        }
        // A group each time, empty or not, so that counting them says which have arrived.
        copies_end();
    };
    for (int step = 0; step < STAGES - 1; step++) begin(step);
    float acc[R / 8][4] = {};
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        begin(step + STAGES - 1);
        bf16 *xs = of_x(step % STAGES), *as = of_a(step % STAGES);
#pragma unroll
        for (int k = 0; k < TILE / 16; k++) {
            uint32_t v[4];
            load_matrices(v, cell<TILE>(xs, own + lane % 16, 2 * k + lane / 16));
            uint32_t row = first + own + lane / 4, at = row * uint32_t(width) + step * TILE + 16 * k + 2 * (lane % 4);
            uint32_t below = at + 8u * uint32_t(width);
            v[0] = mask(v[0], at, at + 1);
            v[1] = mask(v[1], below, below + 1);
            v[2] = mask(v[2], at + 8, at + 9);
            v[3] = mask(v[3], below + 8, below + 9);
#pragma unroll
            for (int n = 0; n < R / 16; n++) {
                uint32_t w[4];
                load_matrices(w, cell<TILE>(as, 16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
                multiply(acc[2 * n], v, w[0], w[1]);
                multiply(acc[2 * n + 1], v, w[2], w[3]);
            }
        }
    }
#pragma unroll
    for (int n = 0; n < R / 8; n++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = first + own + lane / 4 + 8 * half;
            if (row >= rows) continue;
            uint32_t* at = reinterpret_cast<uint32_t*>(y + int64_t(row) * R + 8 * n + 2 * (lane % 4));
            *at = pack(acc[n][2 * half], acc[n][2 * half + 1]);
        }
    }
}

// dx [rows, width] = or += D * (u a). A warp has sixteen rows of a few tiles of columns.
template <int R>
__device__ void masked_product(bf16* dx, const bf16* u, const bf16* a, Mask mask, int rows, int width, bool add) {
    extern __shared__ uint4 shared[];
    bf16 *us = reinterpret_cast<bf16*>(shared), *made = us + TILE * TILE, *as = made + TILE * TILE;
    int first = blockIdx.x * TILE, lane = threadIdx.x % 32, own = threadIdx.x / 32 * 16;
    fetch_narrow<R, TILE>(us, u, first, rows);
    for (int tile = 0; tile < COLUMNS; tile++) {
        int column = (blockIdx.y * COLUMNS + tile) * TILE;
        if (column >= width) break;
        fetch<R>(as, a, 0, R, width, column);
        copies_end();
        copies_wait<0>();
        __syncthreads();
        float acc[TILE / 8][4] = {};
#pragma unroll
        for (int k = 0; k < R / 16; k++) {
            uint32_t v[4];
            load_matrices(v, cell<TILE>(us, own + lane % 16, 2 * k + lane / 16));
#pragma unroll
            for (int n = 0; n < TILE / 16; n++) {
                uint32_t w[4];
                load_transposed(w, cell<TILE>(as, 16 * k + lane % 16, 2 * n + lane / 16));
                multiply(acc[2 * n], v, w[0], w[1]);
                multiply(acc[2 * n + 1], v, w[2], w[3]);
            }
        }
        // By way of the warp's own rows, so that sixteen bytes of a row are read and written at a time.
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                bf16* at = cell<TILE>(made, own + lane / 4 + 8 * half, n) + 2 * (lane % 4);
                *reinterpret_cast<uint32_t*>(at) = pack(acc[n][2 * half], acc[n][2 * half + 1]);
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 16 * (TILE / 8) / 32; i++) {
            int row = own + (lane + 32 * i) / 8, chunk = lane % 8, at = first + row;
            if (at >= rows) continue;
            float v[8], to[8] = {};
            load_whole(v, cell<TILE>(made, row, chunk));
            int64_t place = int64_t(at) * width + column + chunk * 8;
            if (add) load_whole(to, dx + place);
            for (int e = 0; e < 8; e++) {
                float kept = mask(v[e], uint32_t(place) + e);
                v[e] = add ? __fadd_rn(to[e], kept) : kept;
            }
            store_whole(dx + place, v);
        }
        // Nobody fetches over what others still read.
        __syncthreads();
    }
}

// A part of u^T (D * x), [R, width]: `each` rows, of which the block has 64 columns and a warp sixteen. Computed as
// (D * x)^T u, so that the mask is on the left side, whose elements a warp has once.
template <int R>
__device__ void masked_grad(float* partial, const bf16* u, const bf16* x, Mask mask, int rows, int width, int each) {
    extern __shared__ uint4 shared[];
    bf16* tiles = reinterpret_cast<bf16*>(shared);
    auto of_x = [&](int i) { return tiles + i * 2 * TILE * TILE; };
    auto of_u = [&](int i) { return of_x(i) + TILE * TILE; };
    int column = blockIdx.x * TILE, begins = blockIdx.y * each, ends = min(begins + each, rows);
    int lane = threadIdx.x % 32, own = threadIdx.x / 32, steps = ends > begins ? (ends - begins + TILE - 1) / TILE : 0;
    auto begin = [&](int step) {
        if (step < steps) {
            fetch<TILE>(of_x(step % STAGES), x, begins + step * TILE, ends, width, column);
            fetch_narrow<R, TILE>(of_u(step % STAGES), u, begins + step * TILE, ends);
        }
        copies_end();
    };
    for (int step = 0; step < STAGES - 1; step++) begin(step);
    float acc[R / 8][4] = {};
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        begin(step + STAGES - 1);
        bf16 *xs = of_x(step % STAGES), *us = of_u(step % STAGES);
#pragma unroll
        for (int k = 0; k < TILE / 16; k++) {
            uint32_t v[4];
            // Matrix i of the four: rows of x 8 (i / 2) on, columns 8 (i % 2) on; transposed, columns are the left side's rows.
            load_transposed(v, cell<TILE>(xs, 16 * k + lane / 16 * 8 + lane % 8, 2 * own + lane / 8 % 2));
            uint32_t row = begins + step * TILE + 16 * k + 2 * (lane % 4), w = uint32_t(width);
            uint32_t at = row * w + column + 16 * own + lane / 4;
            v[0] = mask(v[0], at, at + w);
            v[1] = mask(v[1], at + 8, at + w + 8);
            v[2] = mask(v[2], at + 8 * w, at + 9 * w);
            v[3] = mask(v[3], at + 8 * w + 8, at + 9 * w + 8);
#pragma unroll
            for (int n = 0; n < R / 16; n++) {
                uint32_t b[4];
                load_transposed(b, cell<TILE>(us, 16 * k + lane % 16, 2 * n + lane / 16));
                multiply(acc[2 * n], v, b[0], b[1]);
                multiply(acc[2 * n + 1], v, b[2], b[3]);
            }
        }
    }
    float* to = partial + int64_t(blockIdx.y) * R * width + column + 16 * own + lane / 4;
#pragma unroll
    for (int n = 0; n < R / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) to[int64_t(8 * n + 2 * (lane % 4) + e % 2) * width + e / 2 * 8] = acc[n][e];
    }
}

extern "C" __global__ void masked_sum(float* grad, const float* partial, int32_t parts, int64_t n) {
    EACH(i, n) {
        float sum = 0.0f;
        for (int part = 0; part < parts; part++) sum += partial[part * n + i];
        grad[i] += sum;
    }
}

#define MASK uint64_t key, uint32_t limit, float scale, int32_t rows, int32_t width
#define BY_RANK(R)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(128) masked_linear_##R(bf16* y, const bf16* x, const bf16* a, MASK) { \
        masked_linear<R>(y, x, a, Mask{key, limit, scale}, rows, width);                                               \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128)                                                                  \
        masked_product_##R(bf16* dx, const bf16* u, const bf16* a, MASK, uint32_t add) {                               \
        masked_product<R>(dx, u, a, Mask{key, limit, scale}, rows, width, add != 0);                                   \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128)                                                                  \
        masked_grad_##R(float* partial, const bf16* u, const bf16* x, MASK, int32_t each) {                            \
        masked_grad<R>(partial, u, x, Mask{key, limit, scale}, rows, width, each);                                     \
    }

BY_RANK(16)
BY_RANK(32)
BY_RANK(64)
