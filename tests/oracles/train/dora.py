"""DoRA by PyTorch's autograd, PEFT and TRL: formula models of families.py.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/dora.py
    SETACCIO_ORACLE_OUT=/tmp/dora cargo test -p setaccio-train --test oracles -- --ignored dora::write_for
    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/dora.py /tmp/dora

Writes dora.json and, by PEFT, dora_peft/. On every linear layer of a variant of families.py, r 4, alpha 8, A and B by formula, lengths of
rows 1.1 times those that the base's have; cases.VARIANT:
    config, logits, loss, gradients     as in tables.py; the lengths are MODULE.lora_magnitude_vector
    sft         the first five losses and norms of TRL's SFTTrainer from a new adapter
peft: logits [5, 64] of the adapter in dora_peft/ (r 2 with rsLoRA on q_proj and down_proj), upon the model of peft_files.py, in f32.
ours.VARIANT: with a folder of files that ours wrote, as in tables.py.
"""

import json
import shutil
import sys
from pathlib import Path

import families
import peft_files
import tables
import torch
from common import HERE
from fixture import VOCAB, documents, module_name, number, numbers, write
from peft import LoraConfig, PeftModel, get_peft_model
from sft import ROWS, blank_tokenizer, row, train

VARIANTS = ["llama-bias", "gemma2", "phi4-mini"]
LENGTHS = "lora_magnitude_vector"


def adapted(name):
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=families.linears(name), use_dora=True
    )
    peft = get_peft_model(families.model(name), config)
    tables.fill(peft, zero_b=False)
    with torch.no_grad():
        for n, tensor in peft.named_parameters():
            if LENGTHS in n:
                tensor.mul_(1.1)
    return peft.eval()


def own(name):
    return f"{module_name(name)}.{LENGTHS}" if LENGTHS in name else tables.own(name)


def case(name):
    built = families.model(name)
    config = json.loads(built.config.to_json_string())
    for mine in ("transformers_version", "_attn_implementation"):
        config.pop(mine, None)
    config["architectures"] = [type(built).__name__]
    out = {"config": config}
    with torch.no_grad():
        out["logits"] = numbers(adapted(name)(input_ids=torch.tensor([documents()[0]])).logits[0, -1])
    peft = adapted(name).double()
    with families.in_f64():
        loss = families.loss_of(peft)
    named = [(own(n), p) for n, p in peft.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [p for _, p in named])
    out["loss"] = number(loss, 15)
    out["gradients"] = {n: families.sampled(n, g, 6) for (n, _), g in zip(named, found, strict=True)}
    rows, tokenizer = [row(r) for r in range(ROWS)], blank_tokenizer(VOCAB)
    taken = train(
        families.model(name), rows, tokenizer, batch=1, accumulation=8, stop=5, linears=families.linears(name),
        fill=tables.fill, use_dora=True,
    )  # fmt: skip
    out["sft"] = {field: taken[field] for field in ("loss", "grad_norm")}
    print(name, out["loss"], out["sft"]["loss"])
    return out


def theirs():
    torch.manual_seed(1)
    peft = get_peft_model(
        peft_files.base(),
        LoraConfig(
            r=2, lora_alpha=6, task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"], use_rslora=True, use_dora=True
        ),
    )
    with torch.no_grad():
        for _, tensor in peft.named_parameters():
            if tensor.requires_grad:
                tensor.add_(torch.randn(tensor.shape) * 0.1)
    folder = HERE / "dora_peft"
    shutil.rmtree(folder, ignore_errors=True)
    peft.eval().save_pretrained(folder)
    (folder / "README.md").unlink()
    saved = json.loads((folder / "adapter_config.json").read_text())
    saved["base_model_name_or_path"] = "formula/llama"
    (folder / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
    assert peft_files.logits(PeftModel.from_pretrained(peft_files.base(), folder).eval()) == peft_files.logits(peft)
    return peft_files.logits(peft)


def main():
    path = HERE / "dora.json"
    if len(sys.argv) > 1:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["ours"] = {f.name: tables.ours(f) for f in sorted(Path(sys.argv[1]).resolve().iterdir()) if f.is_dir()}
        print({name: it["merged"] for name, it in found["ours"].items()})
    else:
        found = {"cases": {name: case(name) for name in VARIANTS}, "peft": theirs()}
    write(__file__, found)


if __name__ == "__main__":
    main()
