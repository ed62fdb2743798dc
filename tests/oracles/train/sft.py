"""50 steps of TRL's SFTTrainer with PEFT on formula models and the model of the recipe `tiny` (fixture.py), f32, CPU.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/sft.py

Data: 400 rows by formula, taken in order, one pass. With s(NAME) = key(3, "sft/" + NAME), b(k, i) number i of
stream k, row r has
    length    8 + b(s("length"), r) % 33                                          (8 .. 40)
    ids[0]    b(child(s("ids"), r), 0) % 32
    ids[i]    (5 * ids[i-1] + 7) % 32, or b(child(s("ids"), r), i) % 96 where b(child(s("jump"), r), i) % 8 == 0
    trained   i >= ceil(length / 3)
Runs called full_... train every weight, the others a LoRA of r 8, alpha 16, no dropout, all seven linear layers; A by the formula of fixture.py, B zero.
AdamW of PyTorch (betas 0.9 and 0.999, eps 1e-8), weight decay 0.01 on A and B alike (of all weights on the matrices: Trainer leaves norms and biases out), clipping to norm 1, learning rate
1e-3: linear from 0 over 5 steps, then linear to 0 at step 50; the first step is taken with learning rate 0.

What the Trainer divides by, checked here at every step against sums taken from the logits: num_items_in_batch, the
trained tokens of the whole step (all its micro-batches). PEFT models go this way too: Trainer looks at the base
model's forward, which takes keyword arguments, and TRL's fused head divides by num_items_in_batch. `loss` is thus
sum / count over the step, and equals the mean over all its targets. Neither Trainer nor TRL rounds what it logs.
TRL's `entropy` and `mean_token_accuracy` are not weighted in this way: they are means over micro-batches of the mean
over each one's targets. Both ways are given.

Writes sft.json:
    rows           the first 3 rows: {ids, trained}; tokens, targets: totals over the 400 rows
    runs.NAME      batch4x2 (`plain`, 50 steps: batch 4, accumulation 2), batch1x8 (the first 10 steps of the same run
                   with batch 1, accumulation 8), tied4x2 (`tied`, 50 steps; its loss starts near 18 and its gradient
                   is clipped at most steps, which that of `plain` never is), full_qwen2 and full_tied (every weight)
        loss, grad_norm (before clipping), learning_rate, num_tokens (running total, without padding), targets,
        mean_token_accuracy, entropy (as TRL logs them), accuracy_by_token, entropy_by_token    [steps]
        trained    {"MODULE.lora_A": [norm, sum], ...} after the last step, or {"MODULE.weight": ...} of all weights
"""

import logging
import tempfile
import warnings

import torch
import torch.nn.functional as F
from common import bits, child, key
from datasets import Dataset
from fixture import DATA, LINEARS, VOCAB, fill_lora, model, module_name, number, tiny, write
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

ROWS, STEPS = 400, 50
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def row(r):
    stream = lambda name: key(DATA, "sft/" + name)  # noqa: E731
    length = 8 + int(bits(stream("length"), 1, r)[0]) % 33
    free, jump = (bits(child(stream(name), r), length).tolist() for name in ("ids", "jump"))
    ids = [free[0] % 32]
    for i in range(1, length):
        ids.append(free[i] % VOCAB if jump[i] % 8 == 0 else (5 * ids[-1] + 7) % 32)
    return {"ids": ids, "trained": [i >= -(-length // 3) for i in range(length)]}


class Recorded(SFTTrainer):
    """SFTTrainer, and what it computed in full precision. Each micro-batch is also scored from plain logits."""

    def __init__(self, *args, stop=0, **kwargs):
        super().__init__(*args, **kwargs)
        self.stop, self.micro, self.steps = stop, [], []
        outer = self

        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop = outer.stop and state.global_step >= outer.stop
                return control

        self.add_callback(Stop())

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.no_grad():
            logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
            target = inputs["labels"][:, 1:]
            mine = F.cross_entropy(logits.flatten(0, 1).double(), target.flatten(), ignore_index=-100, reduction="sum")
            right = (logits.argmax(-1) == target)[target != -100].sum().item()
            p = logits[target != -100].double().log_softmax(-1)
            entropy = -(p.exp() * p).sum().item()
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self.micro.append((mine.item(), int((target != -100).sum()), int(num_items_in_batch), right, entropy))
        return loss

    def log(self, logs, start_time=None):
        super().log(logs, start_time)  # adds TRL's own to `logs`
        if "loss" not in logs:
            return
        sums, counts, items, right, entropy = zip(*self.micro, strict=True)
        assert set(items) == {sum(counts)}, "the loss is divided by the targets of the whole step"
        assert abs(sum(sums) / sum(counts) - logs["loss"]) < 1e-5 * logs["loss"]
        each = lambda values: sum(v / n for v, n in zip(values, counts, strict=True)) / len(counts)  # noqa: E731
        assert abs(each(right) - logs["mean_token_accuracy"]) < 1e-6
        assert abs(each(entropy) - logs["entropy"]) < 1e-4
        own = {"targets": sum(counts), "accuracy_by_token": sum(right) / sum(counts)}
        self.steps.append({**logs, **own, "entropy_by_token": sum(entropy) / sum(counts)})
        self.micro.clear()


def blank_tokenizer(size):
    """Trainer wants one, though every row comes as ids; only its pad token is used, and masked."""
    words = {f"t{i}": i for i in range(size)}
    made = Tokenizer(models.WordLevel(words, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="t0", eos_token="t2", unk_token="t0")


def train(
    base, rows, tokenizer, *, batch, accumulation, stop=0, steps=STEPS, full=False, linears=LINEARS, fill=fill_lora, **more
):
    labels = [[t if on else -100 for t, on in zip(r["ids"], r["trained"], strict=True)] for r in rows]
    data = Dataset.from_dict({"input_ids": [r["ids"] for r in rows], "labels": labels})
    with tempfile.TemporaryDirectory() as folder:
        args = SFTConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation, learning_rate=1e-3, lr_scheduler_type="linear", warmup_steps=5,
            weight_decay=0.01, max_grad_norm=1.0, optim="adamw_torch", train_sampling_strategy="sequential",
            logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, bf16=False, fp16=False, max_length=None,
            gradient_checkpointing=False, dataloader_num_workers=0, disable_tqdm=True, seed=42,
            log_level="error",
        )  # fmt: skip
        lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=linears, task_type="CAUSAL_LM", **more)
        base.requires_grad_(full)
        trainer = Recorded(
            model=base, args=args, train_dataset=data, processing_class=tokenizer, peft_config=None if full else lora,
            stop=stop,
        )  # fmt: skip
        if not full:
            fill(trainer.model, zero_b=True)
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
        trainer.train()
    fields = {
        "loss": 9, "grad_norm": 9, "learning_rate": 12, "num_tokens": 12, "targets": 9, "mean_token_accuracy": 9,
        "entropy": 9, "accuracy_by_token": 9, "entropy_by_token": 9,
    }  # fmt: skip
    out = {f: [number(s[f], digits) for s in trainer.steps] for f, digits in fields.items()}
    for f in ("num_tokens", "targets"):
        out[f] = [int(x) for x in out[f]]
    name = lambda n: n if full else f"{module_name(n)}.{'lora_A' if '.lora_A.' in n else 'lora_B'}"  # noqa: E731
    out["trained"] = {
        name(n): [number(p.norm(), 9), number(p.sum(), 9)]
        for n, p in ((n, p.detach().double()) for n, p in trainer.model.named_parameters())
        if full or ".lora_" in n
    }
    return out


def main():
    rows, tokenizer = [row(r) for r in range(ROWS)], blank_tokenizer(VOCAB)
    runs = {
        "batch4x2": train(model("plain", "sdpa"), rows, tokenizer, batch=4, accumulation=2),
        "batch1x8": train(model("plain", "sdpa"), rows, tokenizer, batch=1, accumulation=8, stop=10),
        "tied4x2": train(model("tied", "sdpa"), rows, tokenizer, batch=4, accumulation=2),
        "tiny4x2": train(tiny(), rows, tokenizer, batch=4, accumulation=2),
        "full_qwen2": train(model("qwen2", "sdpa"), rows, tokenizer, batch=4, accumulation=2, full=True),
        "full_tied": train(model("tied", "sdpa"), rows, tokenizer, batch=4, accumulation=2, full=True),
    }
    assert max(runs["batch4x2"]["grad_norm"]) < 1 and sum(g > 1 for g in runs["tied4x2"]["grad_norm"]) > 25
    for field in ("loss", "grad_norm"):
        for a, b in zip(runs["batch4x2"][field], runs["batch1x8"][field], strict=False):
            assert abs(a - b) < 1e-5 * abs(a), (field, a, b)
    assert runs["batch4x2"]["num_tokens"][-1] == sum(len(r["ids"]) for r in rows)
    totals = {"tokens": sum(len(r["ids"]) for r in rows), "targets": sum(sum(r["trained"]) for r in rows)}
    write(__file__, {"rows": rows[:3], **totals, "runs": runs})


if __name__ == "__main__":
    main()
