// The masks of random.rs.
#pragma once

#include "common.cuh"

// random.rs: mask_bits
__device__ inline uint32_t mask_bits(uint64_t key, uint32_t i) {
    uint32_t x = i ^ uint32_t(key);
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    x = (x ^ (x >> 15)) + uint32_t(key >> 32);
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    return x ^ (x >> 15);
}
