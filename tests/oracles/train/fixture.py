"""Formula models: small Llama-family models whose weights are functions of their names, so that PyTorch and
Rust build the same ones and nothing has to be committed.

    python tests/oracles/train/fixture.py VARIANT FOLDER    # writes it as a Hugging Face folder

Variants: plain, tied, llama31, qwen2, mistral. Vocabulary 96, hidden 64, intermediate 160, 2 layers, 4 heads,
2 key-value heads of 16, RMS epsilon 1e-5, RoPE theta 10000, at most 128 positions.

Weights, for the tensor NAME (Hugging Face's, with its `.weight` or `.bias`), row-major:
    model.embed_tokens.weight           uniform_vec(key(1, NAME), n, 0.5)
    *norm.weight                        1 + uniform_vec(key(1, NAME), n, 0.2)        (added in f32)
    *.bias (qwen2: q, k, v)             uniform_vec(key(1, NAME), n, 0.2)
    any other matrix [out, in]          uniform_vec(key(1, NAME), n, f32(0.5 / sqrt(in)))
    lm_head.weight of `tied`            the embedding
LoRA, for the linear layer MODULE (e.g. model.layers.0.self_attn.q_proj):
    A [r, in]                           uniform_vec(key(2, MODULE + ".lora_A"), n, f32(1 / sqrt(in)))
    B [out, r]                          uniform_vec(key(2, MODULE + ".lora_B"), n, 0.3), or zero
Documents: the first 11 entries of permutation(key(3, "document/0"), 96) and the first 7 of "document/1".
`f32(x)` is x computed in f64, rounded once.
"""

import json
import math
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from common import HERE, key, normal_vec, permutation, uniform_vec
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

torch.set_num_threads(2)

WEIGHTS, ADAPTER, DATA, DROPOUT = 1, 2, 3, 42  # seeds
VOCAB = 96
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE = dict(
    vocab_size=VOCAB, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
VARIANTS = {
    "plain": (LlamaForCausalLM, lambda: LlamaConfig(**SHAPE, head_dim=16, rope_parameters=dict(ROPE))),
    "tied": (
        LlamaForCausalLM,
        lambda: LlamaConfig(**SHAPE, head_dim=16, rope_parameters=dict(ROPE), tie_word_embeddings=True),
    ),
    "llama31": (LlamaForCausalLM, lambda: LlamaConfig(**SHAPE, head_dim=16, rope_parameters=dict(LLAMA3))),
    "qwen2": (Qwen2ForCausalLM, lambda: Qwen2Config(**SHAPE, rope_parameters=dict(ROPE))),
    "mistral": (
        MistralForCausalLM,
        lambda: MistralConfig(**SHAPE, head_dim=16, rope_parameters=dict(ROPE), sliding_window=None),
    ),
}


def weight(name, shape):
    """The formula's value for a tensor of the base model, f32."""
    n = math.prod(shape)
    if name.endswith("norm.weight"):
        value = uniform_vec(key(WEIGHTS, name), n, 0.2) + 1
    else:
        small = name.endswith(".bias")
        scale = 0.5 if name == "model.embed_tokens.weight" else 0.2 if small else 0.5 / math.sqrt(shape[-1])
        value = uniform_vec(key(WEIGHTS, name), n, scale)
    return torch.from_numpy(value).reshape(shape)


def model(variant, attention="eager"):
    """A variant as a Hugging Face model in f32, frozen."""
    make, config = VARIANTS[variant]
    config = config()
    config._attn_implementation = attention
    built = make(config).float().eval().requires_grad_(False)
    with torch.no_grad():
        for name, tensor in built.named_parameters():  # a tied head is not listed twice
            tensor.copy_(weight(name, tuple(tensor.shape)))
    tied = built.lm_head.weight.data_ptr() == built.model.embed_tokens.weight.data_ptr()
    assert tied == (variant == "tied"), variant
    return built


def tiny(attention="sdpa"):
    """What the recipe `tiny` trains, made by train/src/artifacts/tiny.rs: 512 tokens, seed 42; in f32, frozen. Norms are 1,
    every other tensor is normal_vec(key(42, NAME), n, 0.02); the head is the embedding."""
    config = LlamaConfig(
        vocab_size=512, hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-5, max_position_embeddings=1024,
        rope_parameters=dict(ROPE), tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config._attn_implementation = attention
    built = LlamaForCausalLM(config).float().eval().requires_grad_(False)
    with torch.no_grad():
        for name, tensor in built.named_parameters():
            if name.endswith("norm.weight"):
                tensor.fill_(1.0)
            else:
                value = normal_vec(key(42, name), tensor.numel(), 0.02)
                tensor.copy_(torch.from_numpy(value).reshape(tensor.shape))
    assert built.lm_head.weight.data_ptr() == built.model.embed_tokens.weight.data_ptr()
    return built


def module_name(name):
    """Hugging Face's name of a layer, from PEFT's."""
    return name.removeprefix("base_model.model.").split(".lora_")[0]


def with_lora(base, r, alpha, *, rslora=False, zero_b=False):
    """Put an adapter by formula on all seven linear layers; dropout is left to the caller."""
    config = LoraConfig(
        r=r, lora_alpha=alpha, use_rslora=rslora, lora_dropout=0.0, target_modules=LINEARS, task_type="CAUSAL_LM"
    )
    peft = get_peft_model(base, config)
    fill_lora(peft, zero_b=zero_b)
    return peft


def fill_lora(peft, *, zero_b, own=lambda module: module, known=(8, 14)):
    """Overwrite A and B by the formula; `own` names a module as published files do, and a layer has one of the `known` numbers."""
    seen = 0
    with torch.no_grad():
        for name, tensor in peft.named_parameters():
            if ".lora_" not in name:
                continue
            which = "lora_A" if ".lora_A." in name else "lora_B"
            scale = 1 / math.sqrt(tensor.shape[1]) if which == "lora_A" else 0.0 if zero_b else 0.3
            value = uniform_vec(key(ADAPTER, f"{own(module_name(name))}.{which}"), tensor.numel(), scale)
            tensor.copy_(torch.from_numpy(value).reshape(tensor.shape))
            seen += 1
    layers = seen / peft.config.num_hidden_layers
    assert layers in known, seen


def documents():
    """The two documents, lists of ids."""
    return [permutation(key(DATA, f"document/{i}"), VOCAB)[:n] for i, n in enumerate((11, 7))]


class Rope64(nn.Module):
    """Rotary tables in f64 from the model's own (f32) inverse frequencies recomputed in f64."""

    def __init__(self, config):
        super().__init__()
        rope, dim = config.rope_parameters, config.hidden_size // config.num_attention_heads
        freq = rope["rope_theta"] ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        assert rope["rope_type"] == "default"
        self.freq = nn.Buffer(freq, persistent=False)

    def forward(self, x, position_ids):
        angle = position_ids[..., None].double() * self.freq
        angle = torch.cat([angle, angle], -1)
        return angle.cos(), angle.sin()


class Norm64(nn.Module):
    """RMSNorm without the step down to f32."""

    def __init__(self, old):
        super().__init__()
        self.weight, self.eps = old.weight, old.variance_epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def in_f64(built):
    """The same model with every operation in f64: transformers computes norms, softmax and rotary tables in f32
    whatever the weights are. Needs attention="sdpa", whose kernel does keep f64."""
    assert built.config._attn_implementation == "sdpa"
    built = built.double()
    for name, child in list(built.named_modules()):
        parent, _, last = name.rpartition(".")
        if name.endswith("norm"):
            setattr(built.get_submodule(parent), last, Norm64(child))
        elif last == "rotary_emb":
            setattr(built.get_submodule(parent), last, Rope64(built.config))
    return built


def number(x, digits):
    """A number with that many significant digits, as short as it goes."""
    return float(f"{float(x):.{digits}g}")


def numbers(values, digits=9):
    """The same for a tensor, flat."""
    return [number(x, digits) for x in values.flatten().tolist()]


def write(script, value):
    """Like common.write_json, with one line for each list of plain values."""
    from pathlib import Path

    path = HERE / (Path(script).stem + ".json")
    path.write_text(_lines(value, 0) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == value
    print("wrote", path, path.stat().st_size, "bytes")


def _lines(value, depth):
    pad = "\n" + " " * (depth + 1)
    plain = lambda v: not isinstance(v, (dict, list)) or not v  # noqa: E731
    if plain(value) or all(map(plain, value.values() if isinstance(value, dict) else value)):
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if isinstance(value, dict):
        return "{" + ",".join(f"{pad}{json.dumps(k)}: {_lines(v, depth + 1)}" for k, v in value.items()) + "}"
    return "[" + ",".join(pad + _lines(v, depth + 1) for v in value) + "]"


if __name__ == "__main__":
    model(sys.argv[1]).save_pretrained(sys.argv[2])
