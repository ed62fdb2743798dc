"""What transformers makes of configurations and of a GGUF file: the expected values of train/tests/oracles/model_files.rs.

    python tests/oracles/train/model_files.py

Writes model_files.json beside it: the inverse RoPE frequencies of several config.json (transformers'
ROPE_INIT_FUNCTIONS) and the divisors that llama.cpp's converter writes for them; and, from the GGUF file of
tools/fetch-assets.sh, sizes, sums, hashes and single values of tensors of SmolLM2 as
from_pretrained(gguf_file=...) loads them.
"""

import math
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from common import bits, key, sha256, write_json
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SIZES = dict(vocab_size=64, hidden_size=256, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
LLAMA31 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
ROPES = {
    "llama 2": {"rope_theta": 10000.0},
    "llama 3": {"rope_theta": 500000.0},
    "smollm2": {"rope_theta": 100000, "head_dim": 64},
    "linear, old keys": {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama 3.1, old keys": {"rope_theta": 500000.0, "max_position_embeddings": 131072, "rope_scaling": LLAMA31},
    "llama 3.2, new keys": {
        "max_position_embeddings": 131072, "head_dim": 64,
        "rope_parameters": {**LLAMA31, "factor": 32.0, "rope_theta": 500000.0},
    },
    "short original context": {
        "rope_theta": 10000.0, "head_dim": 32,
        "rope_scaling": {**LLAMA31, "factor": 2.5, "low_freq_factor": 1.5, "original_max_position_embeddings": 256},
    },
}  # fmt: skip


def divisors(rope, head_dim, theta):
    """rope_freqs.weight as llama.cpp's converter defines it: what each plain frequency is divided by."""
    low, high = (rope["original_max_position_embeddings"] / rope[k] for k in ("low_freq_factor", "high_freq_factor"))
    out = []
    for i in range(0, head_dim, 2):
        wave = 2 * math.pi * theta ** (i / head_dim)
        if wave < high:
            out.append(1.0)
        elif wave > low:
            out.append(rope["factor"])
        else:
            smooth = rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]
            smooth /= rope["high_freq_factor"] - rope["low_freq_factor"]
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return torch.tensor(out, dtype=torch.float32).tolist()


def ropes():
    cases = []
    for name, keys in ROPES.items():
        json = {"model_type": "llama", **SIZES, **keys}
        config = LlamaConfig(**{k: dict(v) if isinstance(v, dict) else v for k, v in json.items()})
        case = {"name": name, "config": json, "inv_freq": LlamaRotaryEmbedding(config).inv_freq.tolist()}
        rope = keys.get("rope_scaling", keys.get("rope_parameters", {}))
        if rope.get("rope_type") == "llama3":
            case["divisors"] = divisors(rope, config.head_dim, config.rope_parameters["rope_theta"])
        cases.append(case)
    return cases


def smollm2():
    assets = os.environ.get("SETACCIO_ASSETS", Path.home() / ".cache/setaccio-assets")
    folder, file = Path(assets) / "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    config, state = model.config, model.state_dict()
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    for layer in (0, 17, 29):
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                     "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"):  # fmt: skip
            names.append(f"model.layers.{layer}.{part}.weight")
    tensors = {}
    for name in names:
        flat = state[name].flatten()
        at = [int(b) % flat.numel() for b in bits(key(1, name), 10)]
        tensors[name] = {
            "shape": list(state[name].shape),
            "sha256": sha256(flat),
            "sum": flat.double().sum().item(),
            "at": at,
            "values": flat[at].tolist(),
        }
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "max_position_embeddings", "bos_token_id", "eos_token_id")  # fmt: skip
    return {
        "config": {k: getattr(config, k) for k in keys} | {"rope_theta": config.rope_parameters["rope_theta"]},
        "inv_freq": model.model.rotary_emb.inv_freq.tolist(),
        "tied": model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr(),
        "tensors": tensors,
    }


if __name__ == "__main__":
    write_json(__file__, {"ropes": ropes(), "smollm2": smollm2()})
