"""Quantises 20 weights to NF4 with bitsandbytes on the CPU, with and without double quantisation, and writes the
SHA-256 of every part to nf4.json and one 4-bit state dict to nf4_linear.safetensors.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/nf4.py
    SETACCIO_NF4_FILE=file.safetensors ... nf4.py    also checks that bitsandbytes loads what our test wrote there

    SETACCIO_NF4_FILE=/tmp/ours.safetensors cargo test -p setaccio-train --test oracles nf4   writes that file.

One thread: the mean of the scales is a sum in f32, and PyTorch cuts it up by threads.
"""

import hashlib
import json
import os

import bitsandbytes as bnb
import bitsandbytes.functional as F
import numpy as np
import torch
from common import HERE, child, key, sha256, uniform_vec, write_json
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)

# name, shape, kind
CASES = [
    ("one", (1, 1), "bell"),
    ("three", (1, 3), "bell"),
    ("below a block", (7, 9), "bell"),
    ("a block", (1, 64), "bell"),
    ("odd", (3, 43), "bell"),
    ("five blocks", (5, 64), "bell"),
    ("odd rows", (13, 77), "bell"),
    ("small", (96, 64), "bell"),
    ("256 blocks", (64, 256), "bell"),
    ("above 256 blocks", (129, 128), "bell"),
    ("ragged", (100, 333), "bell"),
    ("smollm2 q", (576, 576), "bell"),
    ("smollm2 up bf16", (1536, 576), "bfloat16"),
    ("smollm2 down f16", (576, 1536), "float16"),
    ("llama3 k", (1024, 4096), "bell"),
    ("zero blocks", (40, 200), "zero blocks"),
    ("all zero", (32, 65), "all zero"),
    ("huge", (65, 64), "huge"),
    ("tiny", (65, 64), "tiny"),
    ("uneven", (80, 640), "uneven"),
]


def weight(name, shape, kind):
    """The formula, in f32 and in this order; tests/oracles/nf4.rs has the same."""
    n, k = shape[0] * shape[1], key(4, f"nf4/{name}")
    w = (uniform_vec(child(k, 0), n, 0.04) + uniform_vec(child(k, 1), n, 0.04)) + uniform_vec(child(k, 2), n, 0.04)
    i = np.arange(n)
    if kind == "zero blocks":
        w[(i // 64) % 3 == 1] = 0
    elif kind == "all zero":
        w[:] = 0
    elif kind == "huge":
        w *= np.float32(1e35)
    elif kind == "tiny":
        w *= np.float32(1e-37)
    elif kind == "uneven":
        w *= np.float32(2.0) ** -((i // 64) % 20).astype(np.float32)
    w = torch.from_numpy(w.reshape(shape))
    return w.to(getattr(torch, kind)) if kind.endswith("float16") or kind == "bfloat16" else w


def part(tensor):
    """SHA-256, and the first 16 bytes to look at when it differs."""
    data = tensor.contiguous().numpy().tobytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "first": data[:16].hex()}


def dequantized(packed, absmax, shape, dtype):
    out = torch.ops.bitsandbytes.dequantize_4bit(packed, absmax, 64, "nf4", shape, dtype)
    return part(out.view(torch.int16) if dtype == torch.bfloat16 else out)


def case(name, shape, kind):
    w = weight(name, shape, kind)
    packed, plain = F.quantize_4bit(w, blocksize=64, quant_type="nf4")
    again, double = F.quantize_4bit(w, blocksize=64, quant_type="nf4", compress_statistics=True)
    assert torch.equal(packed, again)
    absmax = F.dequantize_blockwise(double.absmax, double.state2) + double.offset
    return {
        "name": name,
        "shape": list(shape),
        "kind": kind,
        "input": part(w.view(torch.int16) if w.dtype == torch.bfloat16 else w),
        "packed": part(packed),
        "absmax": part(plain.absmax),
        "codes": part(double.absmax),
        "nested": part(double.state2.absmax),
        "offset": double.offset.item(),
        "offset_bits": double.offset.view(torch.int32).item(),
        "plain_f32": dequantized(packed, plain.absmax, shape, torch.float32),
        "double_f32": dequantized(packed, absmax, shape, torch.float32),
        "double_bf16": dequantized(packed, absmax, shape, torch.bfloat16),
    }


LINEAR = ("linear", (96, 64), "bfloat16")


def linear(double):
    """A 4-bit linear layer of bitsandbytes with the weight LINEAR."""
    layer = bnb.nn.Linear4bit(64, 96, bias=False, compress_statistics=double, quant_type="nf4", device="meta")
    w = bnb.nn.Params4bit(weight(*LINEAR), requires_grad=False, compress_statistics=double, quant_type="nf4")
    layer.weight = w.to("cpu")
    return layer


def state(double):
    layer = linear(double)
    prefix = "double." if double else "plain."
    tensors = layer.state_dict(prefix=prefix)
    return {k: v.detach().clone() for k, v in tensors.items()}


def check_ours(path):
    """bitsandbytes loads our file: the same tensors, the same weight."""
    ours, theirs = load_file(path), {**state(True), **state(False)}
    assert sorted(ours) == sorted(theirs), (sorted(ours), sorted(theirs))
    for k in theirs:
        assert torch.equal(ours[k], theirs[k]), k
    for double in (True, False):
        name = ("double" if double else "plain") + ".weight"
        stats = {k: v for k, v in ours.items() if k.startswith(name + ".")}
        loaded = bnb.nn.Params4bit.from_prequantized(ours[name], stats, device="cpu")
        layer = bnb.nn.Linear4bit(64, 96, bias=False, device="meta")
        layer.weight, loaded.module, layer.quant_state = loaded, layer, loaded.quant_state
        x = torch.from_numpy(uniform_vec(key(4, "x"), 3 * 64, 1.0).reshape(3, 64)).bfloat16()
        assert torch.equal(layer(x), linear(double)(x))
        weight_again = F.dequantize_4bit(loaded.data, loaded.quant_state)
        assert weight_again.dtype == torch.bfloat16 and weight_again.shape == (96, 64)
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def main():
    target = HERE / "nf4_linear.safetensors"
    save_file({**state(True), **state(False)}, target)
    print("wrote", target, target.stat().st_size, "bytes")
    before = HERE / "nf4.json"
    ours = json.loads(before.read_text())["ours_sha256"] if before.exists() else ""
    path = os.environ.get("SETACCIO_NF4_FILE")
    if path:
        ours = check_ours(path)
        print("bitsandbytes loads", path)
    maps = {"signed": F.create_dynamic_map(), "unsigned": F.create_dynamic_map(signed=False)}
    w = F.dequantize_4bit(linear(True).weight.data, linear(True).weight.quant_state)
    value = {
        "versions": {"bitsandbytes": bnb.__version__, "torch": torch.__version__.split("+")[0]},
        "code_book": sha256(F.get_4bit_type("nf4", device="cpu")),
        "maps": {k: sha256(v) for k, v in maps.items()},
        "ours_sha256": ours,
        "linear_bf16": part(w.view(torch.int16)),
        "cases": [case(*c) for c in CASES],
    }
    write_json(__file__, value)


main()
