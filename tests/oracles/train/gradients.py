"""Every gradient of LoRA by PyTorch autograd, in f64, over PEFT's own layers (fixture.py: models, documents, adapters).

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/gradients.py

The batch is the two documents laid end to end (T = 18 tokens, positions restart, no attention across), LoRA r 4,
alpha 8 on all seven linear layers with B not zero. A token is a target unless it is among the first 3 of its document;
loss = sum of -log p(target) / 12. Everything is in f64 (fixture.in_f64). Before anything is written: the packed loss
and gradients equal those of the documents one by one, and central differences agree at one element of each tensor.

Dropout p: the input x [T, in] of each adapter is multiplied by keep / (1 - p), where
    keep[t, c] = mask_bits(k, t*in + c) >= u32(p * 4294967296), k = child(child(key(42, "dropout/" + MODULE), step), micro)
with step = micro = 0 and t the token's place in the batch (0..11 the first document, 11..18 the second).
NEFTune: embedding [t, c] of a document of L tokens gains (2*uniform(k, t*H + c) - 1) * alpha / sqrt(L*H), H = 64,
    k = child(child(key(42, "neftune"), step), micro), alpha = 5.

Writes gradients.json:
    ids, positions, starts, labels   the batch; labels[t] is what follows token t, -1 where ignored
    cases.NAME   variant, rslora, dropout, neftune, loss, grad_norm (of all tensors together),
        gradients    {"MODULE.lora_A": [norm, sum, g0 .. g5], ...}; g_j is the gradient's element (row-major)
                     bits(key(4, "MODULE.lora_A"), j) % n
        kept         of a case with dropout: {MODULE: number of kept inputs}
Cases: plain, qwen2, plain-rslora, plain-dropout, qwen2-dropout (p = 0.1), plain-neftune. Twelve significant digits.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from common import bits, child, key, mask_bits, uniform
from fixture import DROPOUT, documents, in_f64, model, module_name, number, with_lora, write
from torch import nn

SAMPLED, IGNORED = 4, 3  # seed of the sampled elements; tokens of each document that are no targets
DOCS = documents()
STARTS = [0, len(DOCS[0]), len(DOCS[0]) + len(DOCS[1])]
IDS = torch.tensor([DOCS[0] + DOCS[1]])
POSITIONS = torch.tensor([[p for d in DOCS for p in range(len(d))]])
LABELS = torch.tensor([t if i >= IGNORED else -1 for d in DOCS for i, t in list(enumerate(d))[1:] + [(0, -1)]])
CASES = {
    "plain": ("plain", {}),
    "qwen2": ("qwen2", {}),
    "plain-rslora": ("plain", {"rslora": True}),
    "plain-dropout": ("plain", {"dropout": 0.1}),
    "qwen2-dropout": ("qwen2", {"dropout": 0.1}),
    "plain-neftune": ("plain", {"neftune": 5.0}),
}


def stream(name):
    """The stream `name` at step 0, micro-batch 0."""
    return child(child(key(DROPOUT, name), 0), 0)


class Mask(nn.Module):
    """In the place of PEFT's dropout: our mask."""

    def __init__(self, module, width, p):
        super().__init__()
        drawn = mask_bits(stream("dropout/" + module), STARTS[-1] * width)
        keep = torch.from_numpy(drawn >= np.uint32(int(p * 4294967296.0))).reshape(STARTS[-1], width)
        self.kept = int(keep.sum())
        self.factor = keep.double() / (1.0 - p)

    def forward(self, x):
        return x * self.factor


def build(variant, *, rslora=False, dropout=0.0, neftune=0.0):
    peft = with_lora(model(variant, "sdpa"), 4, 8, rslora=rslora)
    peft = in_f64(peft)
    kept = {}
    if dropout:
        for name, layer in peft.named_modules():
            if hasattr(layer, "lora_dropout"):
                module = name.removeprefix("base_model.model.")
                mask = Mask(module, layer.in_features, dropout)
                layer.lora_dropout["default"] = mask
                kept[module] = mask.kept
        assert len(kept) == 14
    noise = 0.0
    if neftune:
        width = peft.config.hidden_size
        drawn = torch.from_numpy(uniform(stream("neftune"), STARTS[-1] * width)).double().reshape(STARTS[-1], width)
        lengths = torch.tensor([len(d) for d in DOCS for _ in d]).double()
        noise = (2 * drawn - 1) * (neftune / torch.sqrt(lengths * width))[:, None]
    return peft, kept, noise


def packed_loss(peft, noise=0.0):
    """Both documents in one pass, with an explicit mask: causal within a document, nothing across."""
    doc = torch.tensor([i for i, d in enumerate(DOCS) for _ in d])
    sees = (doc[:, None] == doc[None, :]) & torch.ones(len(doc), len(doc), dtype=torch.bool).tril()
    embeds = peft.get_input_embeddings()(IDS) + noise
    logits = peft(inputs_embeds=embeds, attention_mask=sees[None, None], position_ids=POSITIONS).logits[0]
    assert logits.dtype == torch.float64
    return F.cross_entropy(logits, LABELS, ignore_index=-1, reduction="sum") / (LABELS >= 0).sum()


def separate_loss(peft):
    """Each document by itself, with the model's own causal mask."""
    total = 0.0
    for start, doc in zip(STARTS, DOCS, strict=False):
        logits = peft(input_ids=torch.tensor([doc])).logits[0]
        total += F.cross_entropy(logits, LABELS[start : start + len(doc)], ignore_index=-1, reduction="sum")
    return total / (LABELS >= 0).sum()


def gradients(peft, loss):
    named = [(n, p) for n, p in peft.named_parameters() if p.requires_grad]
    assert len(named) == 28
    grads = torch.autograd.grad(loss, [p for _, p in named])
    return {f"{module_name(n)}.{'lora_A' if '.lora_A.' in n else 'lora_B'}": g for (n, _), g in zip(named, grads, strict=True)}


def sampled(name, n):
    return [int(b) % n for b in bits(key(SAMPLED, name), 6)]


def check_by_differences(peft, noise, found):
    for name, p in peft.named_parameters():
        if not p.requires_grad:
            continue
        own = f"{module_name(name)}.{'lora_A' if '.lora_A.' in name else 'lora_B'}"
        at, flat, h, sides = sampled(own, p.numel())[0], p.data.view(-1), 1e-5, []
        was = flat[at].item()
        with torch.no_grad():
            for way in (1, -1):
                flat[at] = was + way * h
                sides.append(packed_loss(peft, noise).item())
        flat[at] = was
        want, got = (sides[0] - sides[1]) / (2 * h), found[own].flatten()[at].item()
        assert abs(want - got) < 1e-9 + 1e-5 * abs(got), (own, want, got)


def main():
    assert (LABELS >= 0).sum() == 12
    cases = {}
    for name, (variant, options) in CASES.items():
        peft, kept, noise = build(variant, **options)
        loss = packed_loss(peft, noise)
        found = gradients(peft, loss)
        check_by_differences(peft, noise, found)
        if not kept and not options.get("neftune"):
            alone = separate_loss(peft)
            apart = gradients(peft, alone)
            assert abs(alone - loss) < 1e-12
            assert all((apart[k] - g).abs().max() < 1e-12 for k, g in found.items())
            rough = with_lora(model(variant), 4, 8, rslora=options.get("rslora", False))  # transformers as it is, f32
            assert abs(separate_loss(rough).item() - loss.item()) < 1e-5
        cases[name] = {
            "variant": variant,
            "rslora": options.get("rslora", False),
            "dropout": options.get("dropout", 0.0),
            "neftune": options.get("neftune", 0.0),
            "loss": number(loss.item(), 15),
            "grad_norm": number(math.sqrt(sum(g.pow(2).sum().item() for g in found.values())), 15),
            "gradients": {
                k: [number(x, 12) for x in [g.norm(), g.sum(), *g.flatten()[sampled(k, g.numel())]]]
                for k, g in found.items()
            },
        }
        if kept:
            cases[name]["kept"] = kept
        print(name, cases[name]["loss"], cases[name]["grad_norm"])
    batch = {"ids": IDS[0].tolist(), "positions": POSITIONS[0].tolist(), "starts": STARTS, "labels": LABELS.tolist()}
    write(__file__, {**batch, "cases": cases})


if __name__ == "__main__":
    main()
