"""The generator of train/src/random.rs in numpy, so that weights and inputs of the oracles are formulas
and need not be committed: value i of a stream is a function of the stream's key and i alone.

    from common import key, child, bits, uniform, uniform_vec, normal_vec, mask_bits, permutation, sha256, write_json

`python tests/oracles/train/common.py` writes known values for stream "a" of seed 7; train/src/random.rs gives the same.
"""

import hashlib
import json
import math
import pathlib

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
M64 = (1 << 64) - 1
HERE = pathlib.Path(__file__).resolve().parent


def mix(z):
    """SplitMix64's finaliser; an int, or a numpy array of uint64."""
    if isinstance(z, np.ndarray):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def key(seed, name):
    """Key of the stream `name` under `seed`, an int."""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & M64
    return mix((h + seed * GOLDEN) & M64)


def child(k, number):
    """Key of a stream within a stream."""
    return mix(k ^ (((number + 1) * GOLDEN) & M64))


def bits(k, n, start=0):
    """Values start .. start + n of the stream, uint64 [n]."""
    i = np.arange(start + 1, start + n + 1, dtype=np.uint64)
    return mix(i * np.uint64(GOLDEN) + np.uint64(k))


def uniform(k, n, start=0):
    """f32 [n] in [0, 1), 24 bits each."""
    return (bits(k, n, start) >> np.uint64(40)).astype(np.float32) / np.float32(16777216.0)


def uniform_vec(k, n, scale):
    """f32 [n] in [-scale, scale); bit for bit that of Rust."""
    return (np.float32(2.0) * uniform(k, n) - np.float32(1.0)) * np.float32(scale)


def normal_vec(k, n, deviation):
    """f32 [n], mean 0. Bit for bit but for the last digit of log and cos, which is the libraries' own."""
    u = ((bits(k, 2 * n) >> np.uint64(11)).astype(np.float64) + 0.5) / 9007199254740992.0
    return (deviation * np.sqrt(-2.0 * np.log(u[0::2])) * np.cos(2 * math.pi * u[1::2])).astype(np.float32)


def mask_bits(k, n):
    """32 random bits for each of n elements of a mask, uint32 [n]."""
    x = np.arange(n, dtype=np.uint32) ^ np.uint32(k & 0xFFFFFFFF)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
    x = (x ^ (x >> np.uint32(15))) + np.uint32(k >> 32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
    return x ^ (x >> np.uint32(15))


def permutation(k, n):
    """The order of n things, shuffled, a list."""
    order = list(range(n))
    draws = bits(k, n)
    for i in range(n - 1, 0, -1):
        j = int(draws[i]) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def sha256(array):
    """SHA-256 of the bytes of a numpy array or torch tensor, hex."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().contiguous().numpy()
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def write_json(script, value):
    """Write `value` beside `script` with the ending .json; keys keep their order."""
    path = HERE / (pathlib.Path(script).stem + ".json")
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    print("wrote", path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    k = key(7, "a")
    sample = {
        "key": str(k),
        "child": str(child(k, 3)),
        "bits": [str(b) for b in bits(k, 4)],
        "uniform_vec": uniform_vec(k, 4, 0.5).tolist(),
        "normal_vec": normal_vec(k, 4, 2.0).tolist(),
        "mask_bits": mask_bits(k, 4).tolist(),
        "permutation": permutation(k, 16),
    }
    write_json(__file__, sample)
