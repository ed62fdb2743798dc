"""TRL's own preference losses on committed cases: loss, its slopes, metrics.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/preference.py

Writes preference.json:
    losses      The trainers' loss functions, unbound, on answers whose log-probabilities are given, in f64 (ORPO's odds
                ratio steps down to f32, as TRL has it). Each case: name, preference (the TOML table as JSON), what goes in,
                loss, slopes (autograd, with each summed log-probability) and metrics.
        pairs       [{chosen, rejected, reference: [2], text}], answers as [summed logp, tokens]
        slopes      [[chosen, rejected, text], ...]; text's part of chosen is not in chosen
        judged      [[summed logp, tokens, reference, desirable], ...], kl before it is clamped; slopes [n]
    models      Whole trainers on the formula model `plain` with adapters by formula (r 4, alpha 8, B not zero), in f64 but
                for TRL's fused head (DPO, KTO), whose log-probabilities are f32; one micro-batch of four. Each case: name,
                preference, max_length (0: none), continued (the adapter is continued: the reference is its copy, and
                the adapter has moved since by `moved` on every element of every B), loss, metrics.
    moved, rows of the models: {prompt, chosen, rejected}; KTO takes the chosen answer of rows 0 and 2, the rejected one of
                the others
Per-token numbers of `losses`: a case's summed log-probability is spread over its tokens unevenly. DPO and KTO get 0 for
prompts and padding, as from TRL's head; ORPO and CPO get logits there that must not count. `sigmoid` with label smoothing, which TRL 1.16 no longer has, is TRL's `aot` on batches
of one pair, whose sorting then does nothing: -(1 - e) ln s(x) - e ln s(-x).
"""

import logging
import tempfile
import warnings
from collections import defaultdict
from types import SimpleNamespace

import torch
from common import key, uniform
from datasets import Dataset
from fixture import DATA, in_f64, model, number, with_lora, write
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl_preference import settings, text, tokenizer

MOVED = 0.01
NO_TWIN = {"num_tokens", "mean_token_accuracy", "entropy"}
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

# (prompt tokens, chosen tokens, rejected tokens, chosen logp, rejected logp, reference of each, prompt logp)
PAIRS = [
    (5, 7, 4, -9.5, -8.25, -11.0, -7.5, -8.0),
    (3, 6, 9, -20.0, -15.0, -14.0, -19.0, -6.0),
    (4, 3, 5, -3.0, -6.0, -3.0, -6.0, -4.5),
    (2, 8, 1, -1.2, -0.7, -30.0, -2.0, -0.8),
]


class Accelerator:
    device = torch.device("cpu")

    def gather(self, x):
        return x

    gather_for_metrics = gather


def spread(logps, mask):
    """Per-token log-probabilities [rows, T] that sum to `logps` over `mask`; unequal ones."""
    weight = mask * torch.arange(1, mask.shape[1] + 1, dtype=torch.float64)
    return weight / weight.sum(1, keepdim=True) * logps[:, None]


def masks(prompts, answers):
    """Attention and completion masks [rows, T]."""
    longest = max(p + a for p, a in zip(prompts, answers, strict=True))
    place = torch.arange(longest)[None]
    prompt, whole = (torch.tensor(x)[:, None] for x in (prompts, [p + a for p, a in zip(prompts, answers, strict=True)]))
    return (place < whole).long(), ((place >= prompt) & (place < whole)).long()


def self_of(**more):
    own = {
        "model": SimpleNamespace(training=True), "accelerator": Accelerator(), "aux_loss_enabled": False,
        "precompute_ref_logps": True, "_metrics": {"train": defaultdict(list)}, "_total_train_tokens": 0, "_tp_size": 1,
    }  # fmt: skip
    return SimpleNamespace(**(own | more))


def fused(per_token):
    """What a model with TRL's fused head returns, for the shifted positions."""
    zeros = torch.zeros_like(per_token.detach())
    return SimpleNamespace(log_probs=per_token, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())


def leaves(pairs):
    columns = list(zip(*pairs, strict=True))
    logps = [torch.tensor(c, dtype=torch.float64, requires_grad=True) for c in (columns[3], columns[4], columns[7])]
    return columns, logps


def metrics_of(found):
    return {k: number(v, 10) for k, v in found.items() if not k.startswith("logits/") and k not in NO_TWIN}


def dpo(name, pairs, kinds, weights, *, beta, smoothing=0.0, tau=0.05):
    columns, (chosen, rejected, _) = leaves(pairs)
    prompts, n_c, n_r = columns[:3]
    attention, completion = masks(prompts * 2, n_c + n_r)
    own = self_of(
        ld_alpha=None, f_divergence_type="reverse_kl", loss_types=kinds, loss_weights=weights, beta=beta,
        label_smoothing=smoothing, args=SimpleNamespace(discopop_tau=tau), use_weighting=False,
    )  # fmt: skip
    inputs = {
        "input_ids": attention, "attention_mask": attention, "completion_mask": completion,
        "ref_chosen_logps": torch.tensor(columns[5], dtype=torch.float64),
        "ref_rejected_logps": torch.tensor(columns[6], dtype=torch.float64),
    }  # fmt: skip
    per_token = spread(torch.cat([chosen, rejected]), completion[:, 1:])
    loss = DPOTrainer._compute_loss(own, lambda **_: fused(per_token), inputs, False)
    loss.backward()
    table = {"beta": beta, "terms": [{"kind": k, "weight": w} for k, w in zip(kinds, weights, strict=True)]}
    if smoothing:
        table["label_smoothing"] = smoothing
    if "discopop" in kinds:
        table["discopop_tau"] = tau
    found = {k: v[0] for k, v in own._metrics["train"].items()}
    return paired(name, table, pairs, loss, [chosen.grad, rejected.grad, torch.zeros(len(pairs))], found)


def paired(name, table, pairs, loss, slopes, found):
    slopes = [torch.zeros(len(pairs)) if s is None else s for s in slopes]
    rows = [
        {"chosen": [c, n_c], "rejected": [r, n_r], "reference": [ref_c, ref_r], "text": [t + c, p - 1 + n_c]}
        for p, n_c, n_r, c, r, ref_c, ref_r, t in pairs
    ]
    return {
        "name": name, "preference": table, "pairs": rows, "loss": number(loss, 12),
        "slopes": [[number(x, 10) for x in row] for row in zip(*slopes, strict=True)], "metrics": metrics_of(found),
    }  # fmt: skip


def smoothed(name, beta, smoothing):
    """Conservative DPO: `aot` on one pair at a time."""
    table = {"beta": beta, "label_smoothing": smoothing}
    each = [dpo("", [p], ["aot"], [1.0], beta=beta, smoothing=smoothing) for p in PAIRS]
    mean = lambda values: sum(values) / len(PAIRS)  # noqa: E731
    slopes = [torch.tensor([e["slopes"][0][i] / len(PAIRS) for e in each], dtype=torch.float64) for i in range(3)]
    found = {k: mean([e["metrics"][k] for e in each]) for k in each[0]["metrics"]}
    return paired(name, table, PAIRS, mean([e["loss"] for e in each]), slopes, found)


def concatenated(trainer, name, table, **own):
    """ORPO and CPO from logits over two words: those of a token with log-probability l are l and ln(1 - e^l), so that
    token 0 is drawn with it. The whole way from logits is TRL's."""
    columns, (chosen, rejected, prompt) = leaves(PAIRS)
    prompts, n_c, n_r = columns[:3]
    parts = []
    for lengths, answer in ((n_c, chosen), (n_r, rejected)):
        attention, completion = masks(prompts, lengths)
        before = attention - completion
        # the first token has none before it: its place among the shifted ones is gone
        logp = spread(answer, completion[:, 1:]) + spread(prompt, before[:, 1:])
        logp = torch.where(attention[:, 1:] == 1, logp, -3.0)
        last = torch.full((len(PAIRS), 1), -3.0, dtype=torch.float64)
        logp = torch.cat([logp, last], 1)
        parts.append((attention, completion, torch.stack([logp, torch.log(-torch.expm1(logp))], -1)))
    longest = max(p[0].shape[1] for p in parts)
    batch = {}
    for which, (attention, completion, _) in zip(("chosen", "rejected"), parts, strict=True):
        batch[f"{which}_input_ids"] = torch.where(attention == 1, 0, 1)
        batch[f"{which}_attention_mask"] = attention
        batch[f"{which}_labels"] = torch.where(completion == 1, 0, -100)
    logits = torch.cat([torch.nn.functional.pad(p[2], (0, 0, 0, longest - p[2].shape[1])) for p in parts])

    def forward(ids, attention_mask, use_cache):
        assert ids.shape == logits.shape[:2]
        return SimpleNamespace(logits=logits)

    me = self_of(is_encoder_decoder=False, padding_value=1, pad_token_id=1, **own)
    for method in ("concatenated_forward", "odds_ratio_loss", "cpo_loss"):
        if hasattr(trainer, method):
            setattr(me, method, getattr(trainer, method).__get__(me))
    for method in ("concatenated_inputs", "get_batch_logps"):
        setattr(me, method, getattr(trainer, method))
    loss, found = trainer.get_batch_loss_metrics(me, forward, batch)
    loss.backward()
    text = torch.zeros(len(PAIRS)) if prompt.grad is None else prompt.grad
    if not own.get("cpo_alpha", 1.0):
        del found["nll_loss"]  # a 0 that nobody computed
    return paired(name, table, PAIRS, loss, [chosen.grad - text, rejected.grad, text], found)


def kto(name, rows, kl, *, beta, desirable=1.0, undesirable=1.0):
    """Rows are (prompt tokens, tokens, logp, reference, desirable); kl is that of each rotated answer."""
    prompts, lengths, logps, reference, wanted = zip(*rows, strict=True)
    attention, completion = masks(prompts, lengths)
    leaf = torch.tensor(logps, dtype=torch.float64, requires_grad=True)
    own = self_of(
        calculate_KL=True, loss_type="kto", beta=beta, desirable_weight=desirable, undesirable_weight=undesirable
    )
    own._compute_kl_logps = lambda model, batch: torch.tensor(kl, dtype=torch.float64) - 5.0
    inputs = {
        "input_ids": attention, "attention_mask": attention, "completion_mask": completion,
        "label": torch.tensor(wanted), "ref_logps": torch.tensor(reference, dtype=torch.float64),
        "ref_KL_logps": torch.full((len(rows),), -5.0, dtype=torch.float64),
    }  # fmt: skip
    per_token = spread(leaf, completion[:, 1:])
    loss = KTOTrainer._compute_loss(own, lambda **_: fused(per_token), inputs, False)
    loss.backward()
    table = {"loss": "kto", "beta": beta, "desirable_weight": desirable, "undesirable_weight": undesirable}
    found = {k: v[0] for k, v in own._metrics["train"].items()}
    return {
        "name": name, "preference": table, "judged": [[row[2], row[1], row[3], row[4]] for row in rows],
        "kl": sum(kl) / len(kl), "loss": number(loss, 12), "slopes": [number(x, 10) for x in leaf.grad],
        "metrics": metrics_of(found),
    }  # fmt: skip


def losses():
    out = [dpo(kind, PAIRS, [kind], [1.0], beta=0.1) for kind in ("sigmoid", "hinge", "ipo", "nca_pair", "bco_pair")]
    out += [dpo(kind, PAIRS, [kind], [1.0], beta=0.3) for kind in ("sppo_hard", "apo_zero", "apo_down", "sft")]
    out += [dpo(f"{kind} smoothed", PAIRS, [kind], [1.0], beta=0.2, smoothing=0.1) for kind in ("exo_pair", "robust")]
    out += [dpo("discopop", PAIRS, ["discopop"], [1.0], beta=0.1, tau=0.05)]
    out += [dpo("discopop wide", PAIRS, ["discopop"], [1.0], beta=0.1, tau=0.7)]
    out += [dpo("sigmoid_norm", PAIRS, ["sigmoid_norm"], [1.0], beta=2.0)]
    out += [dpo("weighted list", PAIRS, ["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0], beta=0.1)]
    out += [dpo("first step", [(4, 3, 5, -3.0, -6.0, -3.0, -6.0, -4.5)], ["sigmoid"], [1.0], beta=0.1)]
    out += [smoothed("sigmoid smoothed", 0.2, 0.15)]
    out += [concatenated(ORPOTrainer, "orpo", {"loss": "orpo", "beta": 0.25}, beta=0.25)]
    for kind, beta, gamma, smoothing, alpha in (
        ("sigmoid", 0.1, 0.0, 0.0, 1.0),
        ("sigmoid", 0.3, 0.0, 0.1, 0.5),
        ("simpo", 2.0, 0.5, 0.0, 0.0),
        ("simpo", 2.5, 1.25, 0.1, 0.75),
    ):
        table = {"loss": "simpo" if kind == "simpo" else "cpo", "beta": beta, "cpo_alpha": alpha}
        if kind == "simpo":
            table["gamma"] = gamma
        if smoothing:
            table["label_smoothing"] = smoothing
        own = {"loss_type": kind, "simpo_gamma": gamma, "label_smoothing": smoothing, "cpo_alpha": alpha, "alpha": 0.0}
        out += [concatenated(CPOTrainer, f"{table['loss']} {beta}", table, beta=beta, **own)]
    rows = [(3, 5, -9.0, -7.0, True), (2, 4, -4.0, -11.0, False), (6, 2, -6.0, -6.5, True), (4, 7, -12.0, -9.0, True)]
    out += [kto("kto", rows, [1.5, -0.25, 0.75, 2.0], beta=0.1)]
    out += [kto("kto weighted, kl below 0", rows, [-1.5, -0.25, 0.5, 1.0], beta=0.5, desirable=1.25, undesirable=0.75)]
    out += [kto("kto of one kind", rows[:1] + rows[2:], [0.5, 0.25, 0.0], beta=0.2)]
    return out


def tokens(name, n):
    """`n` ids from 3 to 95."""
    return [3 + int(x * 93) for x in uniform(key(DATA, "preference/model/" + name), n)]


ROWS = [
    {
        "prompt": tokens(f"{r}/prompt", p), "chosen": [*tokens(f"{r}/chosen", c), 2],
        "rejected": [*tokens(f"{r}/rejected", j), 2],
    }  # fmt: skip
    for r, (p, c, j) in enumerate([(5, 8, 3), (9, 4, 10), (3, 1, 6), (7, 11, 5)])
]
MODELS = [
    ("dpo", DPOTrainer, DPOConfig, {"beta": 0.1}, {"beta": 0.1}, 0, False),
    ("dpo truncated", DPOTrainer, DPOConfig, {"beta": 0.1}, {"beta": 0.1}, 11, False),
    ("dpo continued", DPOTrainer, DPOConfig, {"beta": 0.5}, {"beta": 0.5}, 0, True),
    ("kto truncated", KTOTrainer, KTOConfig, {"beta": 0.1}, {"loss": "kto", "beta": 0.1}, 11, False),
    ("kto continued", KTOTrainer, KTOConfig, {"beta": 0.3}, {"loss": "kto", "beta": 0.3}, 0, True),
    ("orpo truncated", ORPOTrainer, ORPOConfig, {"beta": 0.1}, {"loss": "orpo", "beta": 0.1}, 11, False),
    (
        "cpo truncated", CPOTrainer, CPOConfig, {"beta": 0.1, "cpo_alpha": 0.5},
        {"loss": "cpo", "beta": 0.1, "cpo_alpha": 0.5}, 11, False,
    ),
    (
        "simpo", CPOTrainer, CPOConfig, {"beta": 2.0, "loss_type": "simpo", "simpo_gamma": 0.5, "cpo_alpha": 0.0},
        {"loss": "simpo", "beta": 2.0, "gamma": 0.5}, 0, False,
    ),
]  # fmt: skip


def run(name, kind, config, own, table, longest, continued):
    rows = [{"prompt": text(r["prompt"]), **{k: " " + text(r[k]) for k in ("chosen", "rejected")}} for r in ROWS]
    if kind is KTOTrainer:
        answer = lambda i: "chosen" if i % 2 == 0 else "rejected"  # noqa: E731
        rows = [
            {"prompt": r["prompt"], "completion": r[answer(i)], "label": i % 2 == 0} for i, r in enumerate(rows)
        ]
    # TRL patches the base before PEFT wraps it, and copies an adapter that is there already.
    with tempfile.TemporaryDirectory() as folder:
        more = {"max_length": longest or (None if kind in (DPOTrainer, KTOTrainer) else 512), "disable_dropout": True}
        trainer = kind(
            model=with_lora(in_f64(model("plain", "sdpa")), 4, 8.0), args=config(**settings(folder, **own, **more)),
            train_dataset=Dataset.from_list(rows), processing_class=tokenizer(96),
        )  # fmt: skip
        peft = trainer.model
        if kind in (DPOTrainer, KTOTrainer):
            assert "ref" in peft.peft_config
            if continued:
                with torch.no_grad():
                    for n, p in peft.named_parameters():
                        if ".lora_B.default" in n:
                            p += MOVED
            else:
                peft.delete_adapter("ref")  # as if the adapter were new: the reference is the bare base
        peft.set_adapter("default")
        peft.double().train()
        batch = next(iter(trainer.get_train_dataloader()))
        loss = trainer.compute_loss(peft, batch)
        assert loss.dtype in (torch.float64, torch.float32) and loss.requires_grad
        stored = trainer._metrics["train"] if hasattr(trainer, "_metrics") else trainer._stored_metrics["train"]
        found = {k: v[0] for k, v in stored.items()}
    if kind is CPOTrainer and not own["cpo_alpha"]:
        del found["nll_loss"]
    metrics = {
        k: number(v, 10)
        for k, v in found.items()
        if k not in NO_TWIN and (kind in (DPOTrainer, KTOTrainer) or not k.startswith("logits/"))
    }
    print(name, float(loss), metrics)
    return {
        "name": name, "preference": table, "max_length": longest, "continued": continued, "loss": number(loss, 10),
        "metrics": metrics,
    }  # fmt: skip


def main():
    cases = losses()
    first = next(c for c in cases if c["name"] == "first step")
    assert first["loss"] == number(0.69314718055994531, 12)
    write(__file__, {"moved": MOVED, "rows": ROWS, "losses": cases, "models": [run(*case) for case in MODELS]})


if __name__ == "__main__":
    main()
