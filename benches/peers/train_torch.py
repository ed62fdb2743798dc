"""PyTorch + PEFT on this CPU, the peer of `just bench-train`: SmolLM2-135M (from the GGUF file) in f32, LoRA on all
linear layers, forward, backward and AdamW on random ids, all of them targets.

    python benches/peers/train_torch.py [--batch 4] [--length 512] [--steps 5] [--rank 16] [--dropout 0]
                                        [--checkpointing] [--attention sdpa|eager] [--loss model|trl] [--threads 2]
                                        [--dtype f32|bf16]

Needs torch, transformers, peft (trl for --loss trl) and the assets of tools/fetch-assets.sh. Prints one line of JSON.
One warm-up step, then `--steps` timed ones. It is given what makes it fast: sdpa (whose causal kernel needs no mask),
no key-value cache, fused AdamW. With `--dtype bf16` forward and loss run under torch.autocast, weights stay f32. `--loss model` is transformers' own loss over all logits; `trl` is the chunked head of
TRL's SFTTrainer, which never holds all logits.
    tokens_per_second    from the median step; step_seconds lists them all,
                         cpu_seconds what both threads were busy (tells a shared machine from a slow step)
    peak_rss_mib         highest resident memory while training (the kernel's mark is reset after loading)
    peak_rss_load_mib    the same while loading: unpacking the GGUF file is dear, and not what is compared
    rss_before_model_mib after the imports; rss_after_model_mib with model and adapter
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

ASSETS = Path(os.environ.get("SETACCIO_ASSETS", Path.home() / ".cache" / "setaccio-assets")) / "smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def memory(field):
    """VmRSS or VmHWM of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"no {field} in /proc/self/status")


def main():
    ask = argparse.ArgumentParser()
    for name, default in (("batch", 4), ("length", 512), ("steps", 5), ("rank", 16), ("threads", 2)):
        ask.add_argument(f"--{name}", type=int, default=default)
    ask.add_argument("--dropout", type=float, default=0.0)
    ask.add_argument("--checkpointing", action="store_true")
    ask.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    ask.add_argument("--loss", choices=["model", "trl"], default="model")
    ask.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    args = ask.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(42)
    out = {**vars(args), "torch": torch.__version__}
    if args.loss == "trl":
        from trl.trainer.utils import add_fused_lm_head
    out["rss_before_model_mib"] = memory("VmRSS")
    model = AutoModelForCausalLM.from_pretrained(
        ASSETS, gguf_file=GGUF, dtype=torch.float32, attn_implementation=args.attention
    )
    if args.loss == "trl":
        add_fused_lm_head(model)
    model = get_peft_model(
        model,
        LoraConfig(r=args.rank, lora_alpha=args.rank, lora_dropout=args.dropout, target_modules=LINEARS, task_type="CAUSAL_LM"),
    )
    if args.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    out["trainable"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    out["peak_rss_load_mib"], out["rss_after_model_mib"] = memory("VmHWM"), memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM

    more = {"fused_lm_head": True} if args.loss == "trl" else {}
    seconds, cpu, losses = [], [], []
    for _ in range(1 + args.steps):
        ids = torch.randint(0, 49152, (args.batch, args.length))
        start, busy = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = model(input_ids=ids, labels=ids, use_cache=False, **more).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(round(time.perf_counter() - start, 4))
        cpu.append(round(time.process_time() - busy, 4))
        losses.append(round(loss.item(), 4))
    out["warmup_seconds"], out["step_seconds"], out["losses"] = seconds[0], seconds[1:], losses
    out["cpu_seconds"] = cpu[1:]
    out["tokens_per_second"] = round(args.batch * args.length / statistics.median(seconds[1:]), 2)
    out["peak_rss_mib"] = memory("VmHWM")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
