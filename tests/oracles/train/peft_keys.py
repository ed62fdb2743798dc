"""Which modules an adapter_config.json gives an adapter, of which rank and scale, as PEFT reads it.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/peft_keys.py

The base is that of peft_files.py. Writes peft_keys.json: a list of cases, each with the keys that its adapter_config.json has
beside r 4, lora_alpha 16, and what PEFT put an adapter on: by module [rank, scale].
"""

import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from common import HERE
from peft import LoraConfig, PeftConfig, get_peft_model
from peft_files import base

QV = ["q_proj", "v_proj"]
CASES = [
    # The first key that fits counts, in the order of the file.
    {"target_modules": QV, "alpha_pattern": {"q_proj": 64, r"layers\.0\.self_attn\.q_proj": 2}},
    {"target_modules": QV, "alpha_pattern": {r"layers\.0\.self_attn\.q_proj": 2, "q_proj": 64}},
    {"target_modules": QV, "rank_pattern": {"v_proj": 8, r".*\.1\..*_proj": 2}, "alpha_pattern": {"self_attn": 3}},
    {"target_modules": QV, "use_rslora": True, "rank_pattern": {"proj": 9, "q_proj": 16}},
    # What is taken out again.
    {"target_modules": QV, "exclude_modules": ["layers.0.self_attn.q_proj"]},
    {"target_modules": QV, "exclude_modules": ["v_proj", "proj"]},
    {"target_modules": QV, "exclude_modules": r".*\.1\.self_attn\.v_proj"},
    {"target_modules": QV, "exclude_modules": r"1\.self_attn\.v_proj"},
    {"target_modules": r".*\.(q|v)_proj", "exclude_modules": ["model.layers.1.self_attn.q_proj"]},
    {"target_modules": QV, "exclude_modules": []},
    # Layers.
    {"target_modules": QV, "layers_to_transform": [1]},
    {"target_modules": QV, "layers_to_transform": 0},
    {"target_modules": QV, "layers_to_transform": []},
    {"target_modules": QV, "layers_to_transform": [0], "layers_pattern": "layers"},
    {"target_modules": QV, "layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    {"target_modules": ["model.layers.0.self_attn.q_proj", "v_proj"], "layers_to_transform": [1]},
    {"target_modules": QV, "layers_to_transform": [0, 1], "exclude_modules": ["0.self_attn.v_proj"]},
]


def put_on(keys):
    with tempfile.TemporaryDirectory() as folder:
        # As a file, so that PEFT reads what it would read; LoraConfig.save_pretrained would sort the patterns.
        text = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 16, "bias": "none", **keys}
        (Path(folder) / "adapter_config.json").write_text(json.dumps(text))
        config = PeftConfig.from_pretrained(folder)
    assert isinstance(config, LoraConfig)
    found = {}
    for name, module in get_peft_model(base(), config).named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            scale = float(f"{module.scaling['default']:.12g}")
            found[name.removeprefix("base_model.model.")] = [module.r["default"], scale]
    return found


if __name__ == "__main__":
    cases = [json.dumps({"keys": keys, "modules": put_on(keys)}) for keys in CASES]
    path = HERE / "peft_keys.json"
    path.write_text("[\n " + ",\n ".join(cases) + "\n]\n", encoding="utf-8")
    print("wrote", path, path.stat().st_size, "bytes")
