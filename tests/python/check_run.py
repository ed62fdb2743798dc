"""Reads run folders of `setaccio train` with the real libraries, as the Hub and PEFT would.

    python tests/python/check_run.py RUN ...

For each folder: `huggingface_hub` parses the model card, and what it names is there; adapter_config.json has the fields
that PEFT builds a LoraConfig from; `safetensors` opens the adapter, whose tensors are those that the configuration calls
for, in the right shapes, finite, with a B that is not all zero; the tokenizer's files are JSON; metrics.jsonl has TRL's
names, steps that go up and finite losses; every hash of run.lock.toml is that of its file. Exits 1 at the first folder
that fails, with what was expected and found.
"""

import hashlib
import json
import math
import os
import re
import sys
import tomllib
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
from huggingface_hub import ModelCard  # noqa: E402
from safetensors import safe_open  # noqa: E402

# What PEFT reads; a key that is missing would take PEFT's default, which need not be what was trained.
PEFT = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "use_dora": False,
    "modules_to_save": None,
}
METRICS = {"step", "epoch", "loss", "grad_norm", "learning_rate", "num_tokens", "mean_token_accuracy"}
EVAL = {"step", "epoch", "eval_loss", "eval_mean_token_accuracy"}


def same(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def check_card(run, lock):
    recipe = lock["recipe"]
    card = ModelCard.load(run / "README.md")
    data = card.data.to_dict()
    library = "transformers" if recipe["method"] == "full" else "peft"
    same("library_name of the card", data.get("library_name"), library)
    same("pipeline_tag of the card", data.get("pipeline_tag"), "text-generation")
    # Sets of the Hub are named where their rows were read, and nowhere else: samples are none.
    repos = sorted({repo for folder in lock["data"] for repo in folder["repos"]})
    same("datasets of the card", sorted(data.get("datasets") or []), repos)
    for field in ("language", "tags"):
        if not data.get(field):
            raise AssertionError(f"the card has no {field}")
    same("base_model of the card", data.get("base_model"), recipe["model"]["repo"] or None)
    # It follows from base and data together, and is never left out: `unknown` where it cannot be told.
    if not data.get("license"):
        raise AssertionError("the card states no licence")
    for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", card.text):
        if not (run / image).is_file():
            raise AssertionError(f"the card shows {image}, which is not there")
    if len(card.text) < 500:
        raise AssertionError("the card has hardly any prose")


def check_adapter(adapter, recipe):
    config, lora = read_json(adapter / "adapter_config.json"), recipe["lora"]
    for key, value in PEFT.items():
        if key not in config:
            raise AssertionError(f"adapter_config.json has no {key}")
        same(key, config[key], value)
    same("r", config["r"], lora["r"])
    same("lora_alpha", config["lora_alpha"], lora["alpha"])
    same("lora_dropout", config["lora_dropout"], lora["dropout"])
    same("use_rslora", config["use_rslora"], lora["rslora"])
    same("target_modules", sorted(config["target_modules"]), sorted(lora["targets"]))
    if not config["base_model_name_or_path"]:
        raise AssertionError("adapter_config.json does not name the base")
    modules, moved = {}, False
    with safe_open(adapter / "adapter_model.safetensors", "numpy") as file:
        for name in file.keys():
            found = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", name)
            if not found:
                raise AssertionError(f"PEFT knows no tensor called {name}")
            tensor = file.get_tensor(name)
            if not np.isfinite(tensor).all():
                raise AssertionError(f"{name} is not finite")
            moved |= found[2] == "B" and bool(np.any(tensor))
            modules.setdefault(found[1], {})[found[2]] = tensor.shape
    for module, shapes in modules.items():
        same(f"{module}: factors", sorted(shapes), ["A", "B"])
        same(f"{module}: rank", (shapes["A"][0], shapes["B"][1]), (lora["r"], lora["r"]))
    same("modules", sorted({m.rsplit(".", 1)[1] for m in modules}), sorted(lora["targets"]))
    if not moved:
        raise AssertionError("every B is zero: nothing was learned")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        read_json(adapter / name)
    return sum((a[0] * a[1] + b[0] * b[1]) for a, b in ((s["A"], s["B"]) for s in modules.values()))


def check_model(model):
    config, shapes, total = read_json(model / "config.json"), {}, 0
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                if not np.isfinite(tensor).all():
                    raise AssertionError(f"{name} is not finite")
                shapes[name], total = tensor.shape, total + tensor.size
    hidden = config["hidden_size"]
    same("embedding", shapes["model.embed_tokens.weight"], (config["vocab_size"], hidden))
    same("final norm", shapes["model.norm.weight"], (hidden,))
    same("layers", len([n for n in shapes if n.endswith(".mlp.down_proj.weight")]), config["num_hidden_layers"])
    same("head", "lm_head.weight" in shapes, not config.get("tie_word_embeddings", False))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        read_json(model / name)
    return total


def check_metrics(run, recipe):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    train = [line for line in lines if "loss" in line]
    held = [line for line in lines if "eval_loss" in line]
    asked = [line for line in lines if "samples" in line]
    same("lines of no kind", len(lines) - len(train) - len(held) - len(asked), 0)
    for sample in (sample for line in asked for sample in line["samples"]):
        same("keys of a sample", sorted(sample), ["prompt", "text"])
    same("steps that the model was asked after", [line["step"] for line in asked], [line["step"] for line in held])
    for kind, wanted, name in ((train, METRICS, "loss"), (held, EVAL, "eval_loss")):
        if not kind:
            raise AssertionError(f"metrics.jsonl has no {name}")
        for line in kind:
            missing = wanted - line.keys()
            if missing or not math.isfinite(line[name]):
                raise AssertionError(f"step {line.get('step')}: {name} is {line[name]}, missing: {sorted(missing)}")
        steps = [line["step"] for line in kind]
        same(f"steps of {name}", steps, sorted(set(steps)))
    if recipe["train"]["max_steps"]:
        same("last step", train[-1]["step"], recipe["train"]["max_steps"])
    return train[0]["loss"], train[-1]["loss"]


def check_hashes(run, lock, made):
    for entry in lock["made"]:
        bytes_ = (run / made / entry["file"]).read_bytes()
        same(f"{entry['file']}: bytes", len(bytes_), entry["bytes"])
        same(f"{entry['file']}: SHA-256", hashlib.sha256(bytes_).hexdigest(), entry["sha256"])
    same(
        f"files of the {made}",
        sorted(path.name for path in (run / made).iterdir()),
        sorted(entry["file"] for entry in lock["made"]),
    )


def check(run):
    lock = tomllib.loads((run / "run.lock.toml").read_text(encoding="utf-8"))
    recipe = lock["recipe"]
    made = "model" if recipe["method"] == "full" else "adapter"
    check_hashes(run, lock, made)
    check_card(run, lock)
    trained = check_model(run / made) if made == "model" else check_adapter(run / made, recipe)
    first, last = check_metrics(run, recipe)
    print(f"{run.name}: {trained} trained parameters, loss {first:.4f} to {last:.4f}; card, {made} and metrics agree")


def main(folders):
    if not folders:
        sys.exit(__doc__)
    for folder in folders:
        try:
            check(Path(folder).resolve())
        except (AssertionError, OSError, ValueError, KeyError) as error:
            sys.exit(f"{folder}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
