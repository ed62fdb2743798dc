"""Whole models in bitsandbytes' NF4, in both directions: one that transformers quantised and saved, for ours to load,
and one that ours wrote, for transformers to load. On the CPU.

    SETACCIO_ORACLE_OUT=/tmp/ours cargo test -p setaccio-train --test oracles -- --ignored four_bit::write_for
    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/four_bit.py /tmp/ours

Writes beside it four_bit_model/ (by transformers) and four_bit.json:
    ids            one text
    theirs.NAME    plain: not quantised; nf4: the saved folder, loaded again. Logits [T, V] in f32, of `small`
    ours           logits of the folder that ours wrote of the same weights, and SHA-256 of its files

`small`: the `plain` of fixture.py (its formula of weights) with one layer, vocabulary 64, hidden 64, intermediate 128,
4 heads, 2 key-value heads of 16. No smaller: on the CPU bitsandbytes wants whole blocks of 64 in each row.
Where the processor has AVX-512 BF16, bitsandbytes infers in bf16 on the CPU and rounds the scales to it, whatever
compute dtype is asked for. That is switched off here, so that numbers are those of f32 on every machine: what it does
on other processors, and in training.
Nested blocks of 256 scales are not filled by so small a model: nf4.py has larger ones.
"""

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from common import HERE
from fixture import ROPE, SHAPE, documents, numbers, weight, write
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)  # as in nf4.py: the mean of the scales

FOUR = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32
)  # fmt: skip
SMALL = {**SHAPE, "vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
IDS = [i for i in documents()[0] if i < SMALL["vocab_size"]]


def small():
    built = LlamaForCausalLM(LlamaConfig(**SMALL, head_dim=16, rope_parameters=dict(ROPE))).float().eval()
    with torch.no_grad():
        for name, tensor in built.named_parameters():
            tensor.copy_(weight(name, tuple(tensor.shape)))
    return built


@torch.no_grad()
def logits(built):
    return numbers(built(input_ids=torch.tensor([IDS])).logits[0].float(), 8)


def load(folder, **more):
    built, info = AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", dtype=torch.float32, output_loading_info=True, **more
    )
    assert not any(info.values()), info
    kinds = [type(m).__name__ for n, m in built.named_modules() if n.endswith("_proj")]
    assert kinds == ["Linear4bit"] * 7 * SMALL["num_hidden_layers"], kinds
    assert type(built.lm_head) is torch.nn.Linear
    for module in built.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False
    return built.eval()


def theirs():
    folder = HERE / "four_bit_model"
    shutil.rmtree(folder, ignore_errors=True)
    plain = small()
    with tempfile.TemporaryDirectory() as whole:
        plain.save_pretrained(whole)
        four = load(whole, quantization_config=FOUR)
    four.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    again, direct = logits(load(folder)), logits(four)
    print("saved and loaded: largest change", max(abs(a - b) for a, b in zip(again, direct, strict=True)))
    print({f.name: f.stat().st_size for f in folder.iterdir()})
    return {"plain": logits(plain), "nf4": again}


def ours(folder):
    files = ["config.json", "model.safetensors"]
    hashes = {f: hashlib.sha256((Path(folder) / f).read_bytes()).hexdigest() for f in files}
    return {"sha256": hashes, "logits": logits(load(folder))}


if __name__ == "__main__":
    found = {"ids": IDS, "theirs": theirs()}
    if len(sys.argv) > 1:
        found["ours"] = ours(sys.argv[1])
    write(__file__, found)
