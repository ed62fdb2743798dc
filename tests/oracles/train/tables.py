"""Adapters upon embedding and head, and modules that are saved whole, by PyTorch's autograd, PEFT and TRL: formula models of
families.py.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/tables.py
    SETACCIO_ORACLE_OUT=/tmp/tables cargo test -p setaccio-train --test oracles -- --ignored tables::write_for
    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/tables.py /tmp/tables

Writes tables.json and, by PEFT, tables_peft/NAME/. For each CASE upon a variant of families.py, with r 4, alpha 8 by formula:
    targets     on every linear layer, embedding and head
    saved       on every linear layer; embedding, head and every norm saved whole
with `ensure_weight_tying` where the head is the embedding: cases.VARIANT.CASE:
    config      config.json
    logits      [96] of the last token of document 0, f32
    loss        of both documents, as in families.py; f64
    gradients   as `lora` there; of both names of one matrix their sum. A of an embedding is PEFT's lora_embedding_B turned, B is
                lora_embedding_A turned. The weights that are saved are moved from the base's: each element is 1.25 times that.
    sft         the first five losses and norms of TRL's SFTTrainer from a new adapter; for `targets` without the head, which TRL
                refuses, and not where it is tied: there PEFT steps one storage as two parameters
peft.NAME: logits [5, 64] of adapters of PEFT in tables_peft/, upon the model of peft_files.py, tied or not, in f32.
grown.NAME: the base resized to 99 tokens by transformers: the first new row of embedding and head (drawn from a normal distribution of
    a billionth of the rows' covariance around their mean), config.
tokens: with a folder of files that ours wrote: ids of a text by the tokenizer with tokens added, in transformers.
ours.NAME: with a folder of files that ours wrote for the cases: logits [96] by PEFT, the largest difference of the merged folder in
    transformers from these, and the hashes of the files.
"""

import hashlib
import json
import math
import shutil
import sys
import warnings
from pathlib import Path

import families
import peft_files
import torch
from common import HERE, key, uniform_vec
from fixture import ADAPTER, VOCAB, documents, module_name, number, numbers, write
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import load_peft_weights
from sft import ROWS, blank_tokenizer, row, train
from transformers import AddedToken, AutoModelForCausalLM, AutoTokenizer

# PyTorch leaves the row of a padding token as it is; here every row is trained.
families.SHAPE["pad_token_id"] = None
VARIANTS = ["llama-bias", "llama32", "gemma2", "granite-bias", "phi4-mini"]
TABLES = ["embed_tokens", "lm_head"]
HALF = {".lora_A.": "lora_A", ".lora_B.": "lora_B", ".lora_embedding_B.": "lora_A", ".lora_embedding_A.": "lora_B"}


def tied(name):
    return bool(families.VARIANTS[name]().tie_word_embeddings)


def keys(name, case):
    """What a case says to PEFT."""
    ensure = {"ensure_weight_tying": True} if tied(name) else {}
    if case == "targets":
        return dict(target_modules=families.linears(name) + (TABLES[:1] if tied(name) else TABLES), **ensure)
    saved = (TABLES[:1] if tied(name) else TABLES) + ["norm"]
    return dict(target_modules=families.linears(name), modules_to_save=saved, **ensure)


def half(name):
    return next((mine for theirs, mine in HALF.items() if theirs in name), None)


def own(name):
    """Our name of a parameter of PEFT's."""
    which = half(name)
    if which:
        return f"{module_name(name)}.{which}"
    return name.removeprefix("base_model.model.").replace("modules_to_save.default.", "")


def fill(peft, *, zero_b):
    """Overwrite A and B by the formula, those of embeddings turned; of one matrix under two names the embedding's."""
    one = peft.peft_config["default"].ensure_weight_tying
    with torch.no_grad():
        for name, tensor in peft.named_parameters():
            which = half(name)
            if which and not (one and own(name).startswith("lm_head.")):
                turned = ".lora_embedding_" in name
                shape = tuple(reversed(tensor.shape)) if turned else tuple(tensor.shape)
                scale = 1 / math.sqrt(shape[1]) if which == "lora_A" else 0.0 if zero_b else 0.3
                value = torch.from_numpy(uniform_vec(key(ADAPTER, own(name)), tensor.numel(), scale)).reshape(shape)
                tensor.copy_(value.T if turned else value)


def adapted(name, case):
    peft = get_peft_model(
        families.model(name), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM", **keys(name, case))
    )
    fill(peft, zero_b=False)
    if tied(name):  # PEFT keeps A and B of one matrix in one storage; the formula is the embedding's
        by_name = dict(peft.named_parameters())
        with torch.no_grad():
            for n, tensor in by_name.items():
                if half(n) and own(n).startswith("lm_head"):
                    twin = {"lora_A": "B", "lora_B": "A"}[half(n)]
                    tensor.copy_(by_name[f"base_model.model.model.embed_tokens.lora_embedding_{twin}.default"].T)
    with torch.no_grad():
        for n, tensor in peft.named_parameters():  # one matrix is listed once
            if "modules_to_save" in n:
                tensor.mul_(1.25)
    return peft.eval()


def gradients(name, case):
    peft = adapted(name, case).double()
    if tied(name) and case == "saved":
        a, b = (peft.base_model.model.get_parameter(f"{at}.modules_to_save.default.weight") for at in ("model.embed_tokens", "lm_head"))
        assert a.data_ptr() == b.data_ptr(), "one matrix"
    with families.in_f64():
        loss = families.loss_of(peft)
    named = [(n, p) for n, p in peft.named_parameters() if p.requires_grad]
    found = {}
    for (n, _), g in zip(named, torch.autograd.grad(loss, [p for _, p in named]), strict=True):
        g = g.T.contiguous() if ".lora_embedding_" in n else g
        mine = own(n).replace("lm_head.", "model.embed_tokens.") if tied(name) else own(n)
        found[mine] = found[mine] + g if mine in found else g
    return number(loss, 15), {n: families.sampled(n, g, 6) for n, g in found.items()}


def case(name, which):
    built = families.model(name)
    config = json.loads(built.config.to_json_string())
    for mine in ("transformers_version", "_attn_implementation"):
        config.pop(mine, None)
    config["architectures"] = [type(built).__name__]
    out = {"config": config}
    with torch.no_grad():
        out["logits"] = numbers(adapted(name, which)(input_ids=torch.tensor([documents()[0]])).logits[0, -1])
    out["loss"], out["gradients"] = gradients(name, which)
    if not (tied(name) and which == "targets"):
        rows, tokenizer = [row(r) for r in range(ROWS)], blank_tokenizer(VOCAB)
        more = keys(name, which)
        more["target_modules"] = [target for target in more["target_modules"] if target != "lm_head"]
        taken = train(
            families.model(name), rows, tokenizer, batch=1, accumulation=8, stop=5, linears=more.pop("target_modules"),
            fill=fill, **more,
        )  # fmt: skip
        out["sft"] = {field: taken[field] for field in ("loss", "grad_norm")}
    print(name, which, out["loss"], out.get("sft", {}).get("loss"))
    return out


def grown(name):
    built = families.model(name)
    config = json.loads(built.config.to_json_string())
    for mine in ("transformers_version", "_attn_implementation"):
        config.pop(mine, None)
    config["architectures"] = [type(built).__name__]
    torch.manual_seed(0)
    built.resize_token_embeddings(VOCAB + 3)
    rows = [built.get_input_embeddings().weight[VOCAB], built.get_output_embeddings().weight[VOCAB]]
    return {"config": config, "embedding": numbers(rows[0], 6), "head": numbers(rows[1], 6)}


PEFT = {
    "apart": (False, dict(target_modules=["q_proj", *TABLES], modules_to_save=["model.norm"], use_rslora=True)),
    "llama_cpp": (False, dict(target_modules=["q_proj", *TABLES])),
    "whole": (False, dict(target_modules=["q_proj"], modules_to_save=[*TABLES, "layernorm"])),
    "tied": (True, dict(target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True)),
    "tied_whole": (True, dict(target_modules=["q_proj"], modules_to_save=TABLES, ensure_weight_tying=True)),
    "untied": (True, dict(target_modules=["q_proj", "embed_tokens"])),
    "untied_whole": (True, dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
}


def small(is_tied):
    built = peft_files.base()
    if is_tied:
        built.config.tie_word_embeddings = True
        built.tie_weights()
        assert built.lm_head.weight.data_ptr() == built.model.embed_tokens.weight.data_ptr()
    return built


def theirs(name):
    is_tied, more = PEFT[name]
    torch.manual_seed(1)
    peft = get_peft_model(small(is_tied), LoraConfig(r=2, lora_alpha=6, task_type="CAUSAL_LM", **more))
    peft.base_model.model.name_or_path = ""
    with torch.no_grad():
        for _, tensor in peft.named_parameters():
            if tensor.requires_grad:
                tensor.add_(torch.randn(tensor.shape) * 0.1)
    folder = HERE / "tables_peft" / name
    peft.eval().save_pretrained(folder)
    (folder / "README.md").unlink()
    saved = json.loads((folder / "adapter_config.json").read_text())
    saved["base_model_name_or_path"] = "formula/llama"
    (folder / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
    again = PeftModel.from_pretrained(small(is_tied), folder).eval()
    assert peft_files.logits(again) == peft_files.logits(peft), name
    return peft_files.logits(peft)


@torch.no_grad()
def last(model):
    new = [VOCAB, VOCAB + 2] if model.config.vocab_size > VOCAB else []
    return model(torch.tensor([documents()[0] + new])).logits[0, -1].double()


def load(folder):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
    )
    assert not any(info.values()), (folder, info)
    return model.eval()


def ours(folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing.*")
        base = load(folder / "model")
        if "grown" in folder.name:
            base.resize_token_embeddings(VOCAB + 3)
        model = PeftModel.from_pretrained(base, folder / "adapter").eval()
    stored, state = load_peft_weights(folder / "adapter", device="cpu"), model.state_dict()
    strip = lambda k: k.replace(".modules_to_save", "").replace(".default", "").replace("vector.weight", "vector")  # noqa: E731
    expected = {strip(k) for k in state if ".lora_" in k or ".modules_to_save." in k}
    loaded = {strip(k): v for k, v in state.items() if "original_module" not in k and strip(k) in stored}
    assert stored.keys() == loaded.keys() and expected <= stored.keys(), (folder, stored.keys() ^ loaded.keys())
    assert all(torch.equal(stored[k], loaded[k]) for k in stored), folder
    with_adapter = last(model)
    without = last(load(folder / "model"))
    assert (with_adapter[:VOCAB] - without).abs().max() > 1e-3, "the adapter is on"
    files = [file for part in ("adapter", "merged") for file in sorted((folder / part).iterdir())]
    return {
        "adapted": numbers(with_adapter),
        "merged": number((last(load(folder / "merged")) - with_adapter).abs().max(), 3),
        "sha256": {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
    }


TEXT = "<|verso|>Nel mezzo del terzina cammin<|verso|>"


def tokens(folder):
    """ours: the tokenizer `base` with tokens added; theirs: the same by transformers."""
    mine = AutoTokenizer.from_pretrained(folder / "grown")
    theirs = AutoTokenizer.from_pretrained(folder / "base")
    theirs.add_tokens([AddedToken("terzina", normalized=False)])
    theirs.add_special_tokens({"additional_special_tokens": [AddedToken("<|verso|>", normalized=False, special=True)]})
    ids = mine.encode(TEXT, add_special_tokens=False)
    assert ids == theirs.encode(TEXT, add_special_tokens=False) and len(mine) == len(theirs), (ids, len(mine), len(theirs))
    shown = mine.decode(ids, skip_special_tokens=True)
    assert shown == theirs.decode(ids, skip_special_tokens=True)
    return {"text": TEXT, "ids": ids, "shown": shown}


def main():
    path = HERE / "tables.json"
    if len(sys.argv) > 1:
        found = json.loads(path.read_text(encoding="utf-8"))
        folders = [f for f in sorted(Path(sys.argv[1]).resolve().iterdir()) if f.is_dir()]
        found["ours"] = {f.name: ours(f) for f in folders if f.name != "tokens"}
        found["tokens"] = tokens(next(f for f in folders if f.name == "tokens"))
        print({name: it["merged"] for name, it in found["ours"].items()})
    else:
        shutil.rmtree(HERE / "tables_peft", ignore_errors=True)
        found = {
            "cases": {name: {which: case(name, which) for which in ("targets", "saved")} for name in VARIANTS},
            "peft": {name: theirs(name) for name in PEFT},
            "grown": {name: grown(name) for name in ("llama-bias", "llama32", "gemma2")},
        }
    write(__file__, found)


if __name__ == "__main__":
    main()
