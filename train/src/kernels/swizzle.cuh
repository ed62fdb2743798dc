// How tiles that tensor cores read lie in shared memory.
#pragma once

#include "common.cuh"

// Rows of D bf16 in shared memory, their chunks of 16 bytes permuted so that eight rows of one column of chunks lie in
// different banks.
template <int D> __device__ inline bf16* cell(bf16* tile, int row, int chunk) {
    return tile + row * D + ((chunk ^ (row & 7)) * 8);
}
