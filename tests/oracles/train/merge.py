"""Folders that ours merged, in transformers, beside PEFT with the adapter on.

    SETACCIO_ORACLE_OUT=/tmp/oracle/adapter cargo test -p setaccio-train --test oracles -- --ignored peft::write_for
    SETACCIO_ORACLE_OUT=/tmp/oracle/merged cargo test -p setaccio-train --test oracles -- --ignored merge::write_for
    python tests/oracles/train/merge.py /tmp/oracle/merged

Base and adapters are those of peft_files.py: PEFT's own, with ranks and alphas that differ by layer, and ours, with
rsLoRA. Each is merged in f32, in several shards, and in bf16, in one. Writes merge.json: for each case the SHA-256 of
the files that transformers loaded without a missing or unexpected key, and `apart`, the largest difference of a
logit [5, 64] from PEFT's, computed in f32.
"""

import hashlib
import sys
from pathlib import Path

import torch
from common import HERE, write_json
from peft import PeftModel
from peft_files import IDS, base
from transformers import AutoModelForCausalLM


@torch.no_grad()
def logits(model):
    return model.float()(torch.tensor([IDS])).logits[0].double()


def main(folder):
    found = {}
    for name in ("theirs", "ours"):
        adapter = HERE / "peft_adapter" if name == "theirs" else folder.parent / "adapter"
        want = logits(PeftModel.from_pretrained(base(), adapter).eval())
        for kind, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
            case = folder / f"{name}-{kind}"
            model, info = AutoModelForCausalLM.from_pretrained(case, output_loading_info=True, dtype="auto")
            assert not any(info.values()), info
            assert model.dtype == dtype, "the configuration says what the weights are in"
            files = sorted(path for path in case.iterdir())
            found[case.name] = {
                "apart": float(f"{(logits(model) - want).abs().max().item():.3g}"),
                "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
            }
            print(case.name, found[case.name]["apart"], len(files), "files")
    write_json(__file__, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
