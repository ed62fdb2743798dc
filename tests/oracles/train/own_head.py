"""A model whose config.json says that the head is the embedding, and whose file holds a head of its own, in transformers.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/own_head.py

The weights are those of `plain` (fixture.py), saved with `tie_word_embeddings: true` in config.json. Writes own_head.json:
    first, last     logits [96] of the first and the last token of document 0, f32
    greedy          the eight most probable tokens after it, one by one
    tied            the same logits' first token where the file has no head: what the head must not be
"""

import json
import tempfile
from pathlib import Path

import torch
from fixture import documents, model, numbers, write
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM


@torch.no_grad()
def run(folder):
    built = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.tensor([documents()[0]])
    logits = built(input_ids=ids).logits[0]
    greedy = built.generate(ids, do_sample=False, max_new_tokens=8, eos_token_id=None, pad_token_id=0)
    return built, logits, greedy[0, ids.shape[1] :].tolist()


def main():
    with tempfile.TemporaryDirectory() as folder:
        model("plain").save_pretrained(folder)
        path, weights = Path(folder) / "config.json", Path(folder) / "model.safetensors"
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"tie_word_embeddings": True}))
        stored = load_file(weights)
        built, logits, greedy = run(folder)
        assert torch.equal(built.lm_head.weight, stored["lm_head.weight"]), "the head of the file is used"
        assert not torch.equal(built.lm_head.weight, built.model.embed_tokens.weight)
        del stored["lm_head.weight"]
        save_file(stored, weights, metadata={"format": "pt"})
        _, tied, _ = run(folder)
    first, last = numbers(logits[0]), numbers(logits[-1])
    write(__file__, {"first": first, "last": last, "greedy": greedy, "tied": numbers(tied[0])})


if __name__ == "__main__":
    main()
