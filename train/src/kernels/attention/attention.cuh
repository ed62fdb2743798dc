// What both ways to compute attention are told.
#pragma once

#include "common.cuh"

// A tile of queries is {row of its first query, queries, row of its span's first key, keys that the first query
// sees, 0}; query i of it sees i more. A tile of keys is {row of its first key, keys, row of the first query that sees
// it, queries from there to the end of the span, keys of the tile before the one that this query sees last}; query i of
// them sees i more.
struct Tile {
    int64_t row, rows, other, count, ahead;
};

__device__ inline Tile tile_of(const uint32_t* tiles) {
    const uint32_t* t = tiles + 5 * int64_t(blockIdx.x);
    return Tile{t[0], t[1], t[2], t[3], t[4]};
}

// What to multiply, and how it lies: `q` [T, heads, dim], `k` and `v` [S, heads / group, dim].
template <class T> struct Inputs {
    const T* q;
    const T* k;
    const T* v;
    int heads, group, dim;
    float scale;
    // c of the soft cap, 0 for none; keys that a query sees.
    float cap;
    int64_t window;
};

// A score behind the soft cap, and the slope of the cap there.
__device__ inline float capped(float s, float cap) { return cap > 0.0f ? cap * tanhf(s / cap) : s; }
__device__ inline float slope(float y, float cap) { return cap > 0.0f ? 1.0f - (y / cap) * (y / cap) : 1.0f; }

// What the backward pass has besides: gradient of the output, log-sum-exp and delta = rowsum(dO O), [T, heads].
template <class T> struct Gradient {
    const T* dout;
    const float* lse;
    const float* delta;
};
