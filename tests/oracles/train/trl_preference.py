"""50 steps each of TRL's DPOTrainer, ORPOTrainer, KTOTrainer and CPOTrainer (loss_type simpo) with PEFT, f32, CPU, on the
model of the recipe `tiny` (fixture.tiny); runs with a `_` in their names on the same with a head of its own.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/trl_preference.py

Data: 200 pairs by formula, four a step, taken in order, one pass. With s(NAME) = key(3, "preference/" + NAME), b(k, i)
number i of stream k, and B(NAME, r, i) = b(child(s(NAME), r), i), pair r has
    prompt      4 + b(s("prompt/length"), r) % 9 tokens (4 .. 12), token i being 8 + B("prompt", r, i) % 500
    chosen      3 + b(s("chosen/length"), r) % 10 tokens (3 .. 12), token i being 8 + B("chosen", r, i) % 40
    rejected    3 + b(s("rejected/length"), r) % 10 tokens, token i being 28 + B("rejected", r, i) % 40
and the last token of each answer is 2. KTO judges row r: the chosen answer, desirable, where r is even, else the rejected
one, undesirable; its KL comes from answers rotated by one within each batch: prompt i with answer i - 1, prompt 0 with
the last.
TRL takes texts: word "<5>" is token 5, so it makes these very ids of them, which is checked.
LoRA r 8, alpha 16, no dropout, all seven linear layers; A by the formula of fixture.py, B zero.
AdamW of PyTorch (betas 0.9 and 0.999, eps 1e-8), weight decay 0.01, clipping to norm 1, learning rate 5e-3: linear from 0
over 5 steps, then linear to 0 at step 50; the first step is taken with learning rate 0. Batch 4, accumulation 1.

Writes trl_preference.json:
    rows        the first 2 pairs
    tokens      totals over the 200 pairs: [prompt, chosen, rejected]
    runs.NAME   dpo (beta 0.1), orpo (beta 0.1), kto (beta 0.1, weights 1.25 and 0.75), simpo (beta 2, gamma 0.5,
                cpo_alpha 0): beta, and every number that TRL logs, by its name: [50]. Left out are TRL's logits/* of
                ORPO and CPO, which are means over prompts and padding too.
        adapter {"MODULE.lora_A": [norm, sum], ...} after the last step, and whatever else was trained
    runs.dpo_saved and kto_saved: embedding, head and every norm trained whole beside the adapter (`modules_to_save`), whose
                originals are the reference; dpo_full and kto_full: every weight, with a copy as the reference. Learning rate 1e-3.
"""

import logging
import tempfile
import warnings

import torch
from common import bits, child, key
from datasets import Dataset
from fixture import DATA, LINEARS, fill_lora, module_name, normal_vec, number, tiny, write
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

ROWS, STEPS, BATCH, END = 200, 50, 4, 2
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def pair(r):
    stream = lambda name: key(DATA, "preference/" + name)  # noqa: E731

    def ids(name, shortest, lengths, first, tokens):
        length = shortest + int(bits(stream(name + "/length"), 1, r)[0]) % lengths
        return [first + b % tokens for b in bits(child(stream(name), r), length).tolist()]

    chosen, rejected = ids("chosen", 3, 10, 8, 40), ids("rejected", 3, 10, 28, 40)
    return {"prompt": ids("prompt", 4, 9, 8, 500), "chosen": chosen[:-1] + [END], "rejected": rejected[:-1] + [END]}


def text(ids):
    return " ".join(f"<{i}>" for i in ids)


def texts(pairs):
    """Pairs as TRL wants them."""
    return [{"prompt": text(p["prompt"]), **{k: " " + text(p[k]) for k in ("chosen", "rejected")}} for p in pairs]


def judged(pairs):
    """One answer of each pair, both kinds by turns."""
    out = []
    for r, p in enumerate(texts(pairs)):
        answer = p["chosen"] if r % 2 == 0 else p["rejected"]
        out.append({"prompt": p["prompt"], "completion": answer, "label": r % 2 == 0})
    return out


def tokenizer(size):
    made = Tokenizer(models.WordLevel({f"<{i}>": i for i in range(size)}, unk_token="<0>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<0>", eos_token=f"<{END}>", unk_token="<0>")


def lora(saved=None):
    return LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.0, target_modules=LINEARS, modules_to_save=saved, task_type="CAUSAL_LM"
    )


def untied():
    """The model of `tiny` with a head of its own."""
    model = tiny()
    rows, width = model.lm_head.weight.shape
    value = torch.from_numpy(normal_vec(key(42, "lm_head.weight"), rows * width, 0.02)).reshape(rows, width)
    model.lm_head.weight = torch.nn.Parameter(value, requires_grad=False)
    model.config.tie_word_embeddings = False
    return model


def settings(folder, steps=STEPS, **more):
    """What every trainer's configuration has."""
    return {
        "output_dir": folder, "max_steps": steps, "per_device_train_batch_size": BATCH, "learning_rate": 5e-3,
        "lr_scheduler_type": "linear", "warmup_steps": 5, "weight_decay": 0.01, "max_grad_norm": 1.0,
        "optim": "adamw_torch", "train_sampling_strategy": "sequential", "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "use_cpu": True, "bf16": False, "fp16": False, "gradient_checkpointing": False,
        "disable_tqdm": True, "seed": 42, "log_level": "error", "max_length": None, **more,
    }  # fmt: skip


RUNS = {
    "dpo": (DPOTrainer, DPOConfig, {"beta": 0.1}),
    "orpo": (ORPOTrainer, ORPOConfig, {"beta": 0.1, "max_length": 1024}),
    "kto": (KTOTrainer, KTOConfig, {"beta": 0.1, "desirable_weight": 1.25, "undesirable_weight": 0.75}),
    "simpo": (
        CPOTrainer,
        CPOConfig,
        {"beta": 2.0, "loss_type": "simpo", "simpo_gamma": 0.5, "cpo_alpha": 0.0, "max_length": 1024},
    ),
}


def same_ids(name, data, pairs):
    """TRL has made of the texts what the formula says."""
    for row, p, r in zip(data, pairs, range(len(pairs)), strict=True):
        if name == "dpo":
            assert [row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]] == list(p.values())
        elif name == "kto":
            before = pairs[r - 1 if r % BATCH else r + BATCH - 1]
            kind = lambda r: "chosen" if r % 2 == 0 else "rejected"  # noqa: E731
            assert [row["prompt_ids"], row["completion_ids"]] == [p["prompt"], p[kind(r)]]
            assert row["KL_completion_ids"] == before[kind(r + 1)]
        else:
            for which in ("chosen", "rejected"):
                assert row[f"{which}_input_ids"] == p["prompt"] + p[which]
                assert row[f"{which}_labels"] == [-100] * len(p["prompt"]) + p[which]


def trained_name(name):
    """Ours of a parameter of PEFT's, or of the model's."""
    if ".lora_" in name:
        return f"{module_name(name)}.{'lora_A' if '.lora_A.' in name else 'lora_B'}"
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")


def train(run, pairs):
    name, _, how = run.partition("_")
    kind, config, own = RUNS[name]
    rows = judged(pairs) if name == "kto" else texts(pairs)
    with tempfile.TemporaryDirectory() as folder:
        args = config(**settings(folder, **own, **({"learning_rate": 1e-3} if how else {})))
        given = {
            "": lambda: dict(model=tiny(), peft_config=lora()),
            "saved": lambda: dict(model=untied(), peft_config=lora(["embed_tokens", "lm_head", "norm"])),
            "full": lambda: dict(model=untied().requires_grad_(True), ref_model=untied()),
        }[how]()
        trainer = kind(args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer(512), **given)
        same_ids(name, trainer.train_dataset, pairs)
        if how != "full":
            fill_lora(trainer.model, zero_b=True)
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
        trainer.train()
    steps = [s for s in trainer.state.log_history if "loss" in s]
    assert len(steps) == STEPS
    no_twin = {"epoch", "step"} | ({"logits/chosen", "logits/rejected"} if name in ("orpo", "simpo") else set())
    out = {"beta": own["beta"]}
    out |= {f: [number(s[f], 9) for s in steps] for f in steps[0] if f not in no_twin}
    out["adapter"] = {
        trained_name(n): [number(p.norm(), 8), number(p.sum(), 8)]
        for n, p in ((n, p.detach().double()) for n, p in trainer.model.named_parameters() if p.requires_grad)
    }
    print(run, {f: (v[0], v[1], v[-1]) for f, v in out.items() if isinstance(v, list)})
    return out


def main():
    pairs = [pair(r) for r in range(ROWS)]
    totals = [sum(len(p[k]) for p in pairs) for k in ("prompt", "chosen", "rejected")]
    runs = {name: train(name, pairs) for name in [*RUNS, "dpo_saved", "kto_saved", "dpo_full", "kto_full"]}
    for name, run in runs.items():
        first = {"dpo": 0.693147, "kto": 0.5}.get(name[:3])
        assert first is None or abs(run["loss"][0] - first) < 1e-6
    write(__file__, {"rows": pairs[:2], "tokens": totals, "runs": runs})


if __name__ == "__main__":
    main()
