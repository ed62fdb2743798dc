// ../src/kernels/mma.cuh on a CPU: tensor cores as tables, written from "Matrix Fragments for mma.m16n8k16" and
// "ldmatrix" of the PTX ISA. Kernel and model were written from one reading of those tables: where that reading is wrong,
// both are, and only a GPU shows it.
#pragma once

#include <cstdio>

#include "common.cuh"

// Of this thread: copies begin, a group of them ends, all groups but the last `left` arrive (fibers.cc).
void copy_begins(void* to, const void* from, bool there);
void copies_group();
void copies_arrive(int left);

inline uint32_t bits_of(bf16 x) { return x.bits; }

inline float half_of(uint32_t both, int which) {
    return __bfloat162float({uint16_t(which ? both >> 16 : both & 0xffff)});
}

inline void must_be_aligned(const void* p) {
    if (reinterpret_cast<uintptr_t>(p) % 16 == 0) return;
    fprintf(stderr, "emulator: %p is no multiple of 16\n", p);
    abort();
}

inline void copy_async(bf16* to, const bf16* from, bool there) {
    must_be_aligned(to);
    must_be_aligned(from);
    copy_begins(to, from, there);
}

inline void copies_end() { copies_group(); }

template <int LEFT> inline void copies_wait() { copies_arrive(LEFT); }

inline void matrices(uint32_t (&r)[4], const bf16* row, bool transposed) {
    must_be_aligned(row);
    uint64_t rows[32];
    of_warp(reinterpret_cast<uint64_t>(row), rows);
    int lane = threadIdx.x % 32, first = lane / 4, second = 2 * (lane % 4);
    uint32_t found[4];
    for (int i = 0; i < 4; i++) {
        auto at = [&](int y, int x) { return bits_of(reinterpret_cast<const bf16*>(rows[8 * i + y])[x]); };
        found[i] = transposed ? at(second, first) | at(second + 1, first) << 16
                              : at(first, second) | at(first, second + 1) << 16;
    }
    // Nobody goes on and overwrites what another lane still reads.
    __syncwarp();
    for (int i = 0; i < 4; i++) r[i] = found[i];
}

inline void load_matrices(uint32_t (&r)[4], const bf16* row) { matrices(r, row, false); }
inline void load_transposed(uint32_t (&r)[4], const bf16* row) { matrices(r, row, true); }

struct Fragments {
    uint32_t a[4], b[2];
};

inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    Fragments mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
    uint64_t all[32];
    of_warp(reinterpret_cast<uint64_t>(&mine), all);
    auto of = [&](int lane) { return reinterpret_cast<const Fragments*>(all[lane]); };
    int lane = threadIdx.x % 32;
    float sums[4] = {};
    for (int e = 0; e < 4; e++) {
        int row = lane / 4 + (e >= 2 ? 8 : 0), column = 2 * (lane % 4) + e % 2;
        for (int k = 0; k < 16; k++) {
            uint32_t left = of(row % 8 * 4 + k % 8 / 2)->a[(k >= 8 ? 2 : 0) + (row >= 8 ? 1 : 0)];
            uint32_t right = of(column * 4 + k % 8 / 2)->b[k / 8];
            sums[e] += half_of(left, k % 2) * half_of(right, k % 2);
        }
    }
    __syncwarp();
    for (int e = 0; e < 4; e++) c[e] += sums[e];
}

inline uint32_t pack(float first, float second) {
    return bits_of(narrow<bf16>(first)) | bits_of(narrow<bf16>(second)) << 16;
}

inline float power_of_two(float x) {
    float y = exp2f(x);
    return y < 0x1p-126f ? 0.0f : y;
}
