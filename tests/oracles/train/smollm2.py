"""SmolLM2-135M-Instruct, dequantised from its GGUF file to f32: logits by transformers, and 50 steps of TRL's
SFTTrainer with PEFT. Needs the assets of tools/fetch-assets.sh.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/smollm2.py

Writes smollm2.json:
    gguf         SHA-256 of the GGUF file
    vocabulary   64 sampled ids: bits(key(4, "smollm2/vocabulary"), j) % 49152, j = 0 .. 63
    prompts      [{text, ids, argmax [T], logsumexp [T], logits [T][64]}], each prompt alone, f32
    sft          batch 2, accumulation 1, 50 steps, rows in order; else as in sft.py (LoRA r 8, alpha 16, all linears,
                 A by formula, B zero; AdamW, learning rate 1e-3, 5 warmup steps, linear, decay 0.01, clip 1)
        rows         100, as base64 of little-endian u16: `lengths`, `ids` end to end, and `prompts`, the number of
                     tokens of each row before the first trained one; every token from there to the end is trained
        loss, grad_norm, learning_rate, num_tokens, targets, mean_token_accuracy, entropy, accuracy_by_token,
        entropy_by_token, adapter                as in sft.json; `adapter` is the sum over layers of [norm^2, sum] by kind
Rows: data/samples/databricks_dolly_15k.jsonl, then camoscio.json (Italian) until there are 100, through the model's
own chat template (default system prompt); learned are the answer and its <|im_end|>, not the line break after it, which
is cut off; at most 128 tokens; a row whose prompt fills them is passed over.
"""

import base64
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from common import bits, key
from fixture import number, numbers, write
from sft import train
from transformers import AutoModelForCausalLM, AutoTokenizer

ASSETS = Path(os.environ.get("SETACCIO_ASSETS", Path.home() / ".cache" / "setaccio-assets")) / "smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples"
ROWS, LONGEST, STEPS = 100, 128, 50
PROMPTS = [
    "The capital of Italy is",
    "<|im_start|>user\nPerché il cielo è blu?<|im_end|>\n<|im_start|>assistant\n",
    "fn main() {\n    println!(\"Ciao 😀, it's 3.14\");\n}",
]


def load():
    built = AutoModelForCausalLM.from_pretrained(ASSETS, gguf_file=GGUF, dtype=torch.float32, attn_implementation="sdpa")
    assert type(built.model.layers[0].mlp.up_proj) is torch.nn.Linear, "the weights are plain f32 already"
    assert all(p.dtype == torch.float32 for p in built.parameters())
    # Trainer refuses what came from a GGUF file, dequantised or not
    built.is_quantized, built.hf_quantizer = False, None
    for gone in ("quantization_method", "quantization_config"):
        for owner in (built, built.config):
            if gone in vars(owner):
                delattr(owner, gone)
    return built.eval().requires_grad_(False)


@torch.no_grad()
def prompts(built, tokenizer, vocabulary):
    out = []
    for text in PROMPTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        logits = built(input_ids=torch.tensor([ids])).logits[0]
        found = {"text": text, "ids": ids, "argmax": logits.argmax(-1).tolist()}
        found["logsumexp"] = numbers(logits.double().logsumexp(-1), 9)
        found["logits"] = [numbers(row[vocabulary], 7) for row in logits]
        print(repr(text), "->", repr(tokenizer.decode(found["argmax"][-1])))
        out.append(found)
    assert "Rome" in tokenizer.decode(out[0]["argmax"][-1])
    return out


def texts():
    for line in (SAMPLES / "databricks_dolly_15k.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["instruction"], row["context"], row["response"]
    for row in json.loads((SAMPLES / "camoscio.json").read_text(encoding="utf-8")):
        yield row["instruction"], row["input"], row["output"]


def rows(tokenizer):
    out, passed = [], 0
    for question, context, answer in texts():
        chat = [{"role": "user", "content": question + (f"\n\n{context}" if context else "")}]
        head = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        chat.append({"role": "assistant", "content": answer})
        whole = tokenizer.apply_chat_template(chat, tokenize=False)
        assert whole.startswith(head) and whole.endswith("<|im_end|>\n")
        before = len(tokenizer(head, add_special_tokens=False)["input_ids"])
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"][:-1]
        assert ids[:before] == tokenizer(head, add_special_tokens=False)["input_ids"]
        assert ids[-1] == tokenizer.eos_token_id
        if before >= LONGEST:
            passed += 1
            continue
        ids = ids[:LONGEST]
        out.append({"ids": ids, "trained": [i >= before for i in range(len(ids))]})
        if len(out) == ROWS:
            break
    assert len(out) == ROWS
    print("passed over", passed, "tokens", sum(len(r["ids"]) for r in out))
    return out


def packed(values):
    return base64.b64encode(np.array(values, dtype="<u2").tobytes()).decode()


def by_kind(adapter):
    out = {}
    for name, (norm, total) in adapter.items():
        kind = ".".join(name.split(".")[-2:])
        squares, sums = out.get(kind, (0.0, 0.0))
        out[kind] = (squares + norm**2, sums + total)
    return {k: [number(x, 8) for x in v] for k, v in out.items()}


def main():
    tokenizer = AutoTokenizer.from_pretrained(ASSETS, gguf_file=GGUF)
    vocabulary = [int(b) % len(tokenizer) for b in bits(key(4, "smollm2/vocabulary"), 64)]
    built = load()
    assert built.config.vocab_size == len(tokenizer) == 49152
    found = prompts(built, tokenizer, vocabulary)
    data = rows(tokenizer)
    run = train(built, data, tokenizer, batch=2, accumulation=1, steps=STEPS)
    run["adapter"] = by_kind(run.pop("trained"))
    stored = {
        "lengths": packed([len(r["ids"]) for r in data]),
        "prompts": packed([r["trained"].index(True) for r in data]),
        "ids": packed([t for r in data for t in r["ids"]]),
    }
    digest = hashlib.sha256((ASSETS / GGUF).read_bytes()).hexdigest()
    write(__file__, {"gguf": digest, "vocabulary": vocabulary, "prompts": found, "sft": {"rows": stored, **run}})


if __name__ == "__main__":
    main()
