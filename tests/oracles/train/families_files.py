"""Adapters and merged models of every family that ours wrote, in PEFT and transformers.

    SETACCIO_ORACLE_OUT=/tmp/families cargo test -p setaccio-train --test oracles -- --ignored families_files::write_for
    python tests/oracles/train/families_files.py /tmp/families

NAME/ of that folder has model/ (the variant of families.py by formula), adapter/ (r 4, alpha 8 by formula on every linear layer) and
merged/ (both as one, in f32). Writes families_files.json, for each NAME:
    adapted     logits [96] of the last token of document 0 by PEFT with the adapter on, f32
    merged      the largest difference of the merged folder's in transformers from these
    (adapters on experts, a matrix each, PEFT joins to one for each of transformers' two tensors a layer)
    sha256      of the files of adapter/ and merged/, which PEFT and transformers loaded without a missing or unexpected key
"""

import hashlib
import sys
import warnings
from pathlib import Path

import torch
from fixture import documents, number, numbers, write
from peft import PeftModel
from peft.utils import load_peft_weights
from transformers import AutoModelForCausalLM


@torch.no_grad()
def logits(model):
    return model(torch.tensor([documents()[0]])).logits[0, -1].double()


def load(folder):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
    )
    assert not any(info.values()), (folder, info)
    return model.eval()


def main(out):
    found = {}
    for case in sorted(path for path in out.iterdir() if path.is_dir()):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # PEFT only warns of a missing key
            model = PeftModel.from_pretrained(load(case / "model"), case / "adapter").eval()
        stored, state = load_peft_weights(case / "adapter", device="cpu"), model.state_dict()
        loaded = {k.replace(".default", ""): v for k, v in state.items() if ".lora_" in k}
        joined = [k for k in loaded if ".experts." in k]  # by PEFT, of a matrix each: the logits say whether rightly
        assert bool(joined) == any(".experts." in k for k in stored), case
        stored, loaded = ({k: v for k, v in of.items() if ".experts." not in k} for of in (stored, loaded))
        assert stored.keys() == loaded.keys() and all(torch.equal(stored[k], loaded[k]) for k in stored), case
        with_adapter = logits(model)
        assert (with_adapter - logits(load(case / "model"))).abs().max() > 1e-3, "the adapter is on"
        merged = (logits(load(case / "merged")) - with_adapter).abs().max()
        files = [file for part in ("adapter", "merged") for file in sorted((case / part).iterdir())]
        found[case.name] = {
            "adapted": numbers(with_adapter),
            "merged": number(merged, 3),
            "sha256": {str(f.relative_to(case)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        }
        print(case.name, float(merged))
    write(__file__, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
