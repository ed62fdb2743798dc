"""Adapters in both directions: one that PEFT saved, for ours to load, and one that ours saved, for PEFT to load.

    SETACCIO_ORACLE_OUT=/tmp/ours cargo test -p setaccio-train --test oracles -- --ignored peft::write_for
    python tests/oracles/train/peft_files.py /tmp/ours

Writes beside it peft_adapter/ (by PEFT) and peft_files.json: the hashes of our two files, which PEFT accepted without
a missing or unexpected key, and the logits [5, 64] of the ids with no adapter, with PEFT's and with ours, in f32.

The base model: Llama of 2 layers, vocabulary 64, hidden 32, intermediate 64, 4 heads, 2 key-value heads, head not
tied, RMS epsilon 1e-5, RoPE theta 10000, at most 128 positions. Weights of the tensor NAME, row-major:
    model.embed_tokens.weight       uniform_vec(key(1, NAME), n, 0.5)
    *norm.weight                    1 + uniform_vec(key(1, NAME), n, 0.2)
    any other matrix [out, in]      uniform_vec(key(1, NAME), n, f32(0.5 / sqrt(in)))
Adapters of MODULE, e.g. model.layers.0.self_attn.q_proj; SEED 2 for PEFT's, 3 for ours:
    A [r, in]                       uniform_vec(key(SEED, MODULE + ".lora_A"), n, f32(1 / sqrt(in)))
    B [out, r]                      uniform_vec(key(SEED, MODULE + ".lora_B"), n, 0.3)
PEFT's: r 4, alpha 16 on all seven linears, but r 2 on down_proj and alpha 6 on q_proj of layer 1.
Ours: r 8, alpha 16, rsLoRA, dropout 0.1, on q_proj, v_proj and down_proj.
"""

import hashlib
import json
import math
import os
import shutil
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from common import HERE, key, uniform_vec, write_json
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import load_peft_weights
from transformers import LlamaConfig, LlamaForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = [1, 17, 5, 63, 30]


def base():
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=128, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, name_or_path="formula/llama",
    )  # fmt: skip
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("norm.weight"):
                value = uniform_vec(key(1, name), tensor.numel(), 0.2) + 1
            else:
                scale = 0.5 if name == "model.embed_tokens.weight" else 0.5 / math.sqrt(tensor.shape[-1])
                value = uniform_vec(key(1, name), tensor.numel(), scale)
            tensor.copy_(torch.from_numpy(value).reshape(tensor.shape))
    return model


def fill(model, seed):
    """Put the formula's values into every A and B."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if ".lora_" in name:
                module, _, rest = name.removeprefix("base_model.model.").partition(".lora_")
                scale = 1 / math.sqrt(tensor.shape[1]) if rest[0] == "A" else 0.3
                value = uniform_vec(key(seed, f"{module}.lora_{rest[0]}"), tensor.numel(), scale)
                tensor.copy_(torch.from_numpy(value).reshape(tensor.shape))


def logits(model):
    with torch.no_grad():
        out = model(torch.tensor([IDS])).logits[0]
    return [[float(f"{x:.9g}") for x in row] for row in out.tolist()]


def theirs():
    config = LoraConfig(
        r=4, lora_alpha=16, lora_dropout=0.05, target_modules=LINEARS, task_type="CAUSAL_LM", revision="main",
        rank_pattern={"down_proj": 2}, alpha_pattern={r"layers\.1\.self_attn\.q_proj": 6},
    )  # fmt: skip
    model = get_peft_model(base(), config).eval()
    fill(model, 2)
    folder = HERE / "peft_adapter"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()  # a model card with nothing in it
    return logits(model)


def ours(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT only warns of a missing key
        model = PeftModel.from_pretrained(base(), folder).eval()
    stored, state = load_peft_weights(folder, device="cpu"), model.state_dict()
    loaded = {k.replace(".default", ""): v for k, v in state.items() if ".lora_" in k}
    assert stored.keys() == loaded.keys(), "keys differ"
    assert all(torch.equal(stored[k], loaded[k]) for k in stored), "values differ"
    assert len(stored) == 12 and model.peft_config["default"].use_rslora
    assert type(json.loads((Path(folder) / "adapter_config.json").read_text())["lora_alpha"]) is int
    found = logits(model)
    fill(model, 3)  # in place: `loaded` sees it
    assert all(torch.equal(stored[k], loaded[k]) for k in stored), "not the formula"
    files = ["adapter_config.json", "adapter_model.safetensors"]
    return {f: hashlib.sha256((Path(folder) / f).read_bytes()).hexdigest() for f in files}, found


if __name__ == "__main__":
    hashes, with_ours = ours(sys.argv[1])
    write_json(__file__, {
        "ids": IDS, "ours_sha256": hashes,
        "logits": {"base": logits(base()), "theirs": theirs(), "ours": with_ours},
    })  # fmt: skip
