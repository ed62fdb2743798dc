"""Fifty steps with the factors of products rounded to bf16, as `train.dtype = "bf16"` has them on a CPU: formula models
(fixture.py), the data and the settings of sft.py, in PyTorch and PEFT with a loop of our own.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/bf16_products.py

Rounded to the nearest bf16, with products and sums in f32, are both factors of
    x W^T     of a linear layer of the model, where the batch has 32 tokens or more, and of the head, where it has 32 targets
    dy W      the same in the backward pass; dy of the head is softmax - one-hot, before it is divided by the targets
    dy^T x    the gradient of a weight, if every weight is trained; x of the head is divided by the targets before
All else is f32: the adapters' products, attention, norms, the optimizer.

Writes bf16_products.json: for the runs `plain` (a LoRA, as sft.py's batch4x2) and `full_qwen2` (every weight)
    loss, grad_norm (before clipping)     [50 steps]
    f32           the same losses with nothing rounded: what the rounding changes
    autocast      the same losses under torch.autocast("cpu", torch.bfloat16), which rounds what products make too
"""

import contextlib

import torch
import torch.nn.functional as F
from fixture import VOCAB, fill_lora, model, number, write
from peft import LoraConfig, get_peft_model
from sft import LINEARS, ROWS, STEPS, row

FEW = 32
tokens = 0  # of the batch at hand


def near(t):
    return t.to(torch.bfloat16).to(torch.float32)


class Product(torch.autograd.Function):
    """x W^T + b of [..., in] and [out, in]."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight, bias)
        y = near(x) @ near(weight).T if tokens >= FEW else x @ weight.T
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx, dy):
        x, weight, bias = ctx.saved_tensors
        dx = near(dy) @ near(weight) if tokens >= FEW else dy @ weight
        flat = lambda t: t.flatten(0, -2)  # noqa: E731
        dw = near(flat(dy)).T @ near(flat(x)) if weight.requires_grad else None
        return dx, dw, flat(dy).sum(0) if bias is not None and bias.requires_grad else None


class Losses(torch.autograd.Function):
    """-log p of each label, of hidden states [N, H] and the head [V, H]."""

    @staticmethod
    def forward(ctx, x, weight, labels):
        logits = near(x) @ near(weight).T if len(x) >= FEW else x @ weight.T
        ctx.save_for_backward(x, weight, logits, labels)
        return F.cross_entropy(logits, labels, reduction="none")

    @staticmethod
    def backward(ctx, weights):
        x, weight, logits, labels = ctx.saved_tensors
        d = logits.softmax(-1)
        d[torch.arange(len(labels)), labels] -= 1
        dx = near(d) @ near(weight) if len(x) >= FEW else d @ weight
        dw = near(d).T @ near(weights[:, None] * x) if weight.requires_grad else None
        return weights[:, None] * dx, dw, None


def train(variant, rounded, autocast=False):
    global tokens
    torch.manual_seed(0)
    full = variant.startswith("full_")
    base = model(variant.removeprefix("full_"), "sdpa")
    if rounded:
        for name, module in base.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                module.forward = lambda x, module=module: Product.apply(x, module.weight, module.bias)
    base.requires_grad_(full)
    if full:
        trained, inner = base, base
    else:
        lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=LINEARS, task_type="CAUSAL_LM")
        trained = get_peft_model(base, lora)
        inner = trained.base_model.model
        fill_lora(trained, zero_b=True)
    trained.train()
    params = [(n, p) for n, p in trained.named_parameters() if p.requires_grad]
    plain = [p for n, p in params if full and ("norm" in n or n.endswith(".bias"))]
    decayed = [p for n, p in params if not (full and ("norm" in n or n.endswith(".bias")))]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    rows = [row(r) for r in range(ROWS)]
    out = {"loss": [], "grad_norm": []}
    for step in range(STEPS):
        rate = 1e-3 * (step / 5 if step < 5 else (STEPS - step) / (STEPS - 5))
        for group in optimizer.param_groups:
            group["lr"] = rate
        micros = [rows[step * 8 + m * 4 :][:4] for m in range(2)]
        count = sum(sum(r["trained"][1:]) for micro in micros for r in micro)
        total = 0.0
        for micro in micros:
            length = max(len(r["ids"]) for r in micro)
            pad = lambda values: values + [0] * (length - len(values))  # noqa: E731
            ids = torch.tensor([pad(r["ids"]) for r in micro])
            mask = torch.tensor([pad([1] * len(r["ids"])) for r in micro])
            learned = torch.tensor([pad([int(t) for t in r["trained"]]) for r in micro])[:, 1:] == 1
            tokens = int(mask.sum())
            cast = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
            with cast:
                hidden = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
                hidden, labels = hidden[learned], ids[:, 1:][learned]
                if rounded:
                    losses = Losses.apply(hidden, inner.lm_head.weight, labels)
                else:
                    losses = F.cross_entropy(F.linear(hidden, inner.lm_head.weight).float(), labels, reduction="none")
            (losses.sum() / count).backward()
            total += losses.double().sum().item()
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in params], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        out["loss"].append(number(torch.tensor(total / count), 9))
        out["grad_norm"].append(number(norm, 9))
    return out


def main():
    runs = {}
    for variant in ("plain", "full_qwen2"):
        runs[variant] = train(variant, rounded=True)
        runs[variant]["f32"] = train(variant, rounded=False)["loss"]
        runs[variant]["autocast"] = train(variant, rounded=False, autocast=True)["loss"]
        off = lambda other: max(abs(a - b) for a, b in zip(runs[variant]["loss"], other, strict=True))  # noqa: E731, B023
        print(variant, "off f32", off(runs[variant]["f32"]), "off autocast", off(runs[variant]["autocast"]))
    write(__file__, {"vocabulary": VOCAB, "runs": runs})


if __name__ == "__main__":
    main()
