// The instructions that tensor cores are fed with, sm_80 and later, each behind one function and nowhere else. A warp
// runs all of them together; lane l is number l / 4 of eight groups and number l % 4 in its group. As the PTX ISA lays
// fragments out ("Matrix Fragments for mma.m16n8k16 with floating point type", "ldmatrix"):
//   C, 16 x 8 f32:  c[0], c[1] are row l / 4, columns 2 (l % 4) and the next; c[2], c[3] the same of row l / 4 + 8
//   A, 16 x 16:     a[0] row l / 4, columns 2 (l % 4) and the next; a[1] row + 8; a[2] columns + 8; a[3] both
//   B, 16 x 8:      b[0] rows 2 (l % 4) and the next of column l / 4; b[1] rows + 8
// Of two bf16 in a register the first is the low half.
#pragma once

#include "common.cuh"

__device__ inline uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

// 16 bytes from global to shared memory on the side, zeros if they are not `there`; both ends are multiples of 16, and
// `from` is an address that may be read either way.
__device__ inline void copy_async(bf16* to, const bf16* from, bool there) {
    int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

// Ends a group of copies.
__device__ inline void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until all groups of this thread but the last LEFT have arrived. Others see them after a barrier.
template <int LEFT> __device__ inline void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }

// Four 8 x 8 matrices of bf16: lane l names row l % 8 of matrix l / 8 and gets of each matrix i, in r[i], row l / 4,
// columns 2 (l % 4) and the next.
__device__ inline void load_matrices(uint32_t (&r)[4], const bf16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same of the matrices transposed: column l / 4, rows 2 (l % 4) and the next.
__device__ inline void load_transposed(uint32_t (&r)[4], const bf16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b
__device__ inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two numbers in a register, each rounded to the nearest.
__device__ inline uint32_t pack(float first, float second) {
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}

// 2^x in one instruction, within two units in the last place; below 2^-126 it is 0.
__device__ inline float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
