"""QLoRA of Llama-3-8B's shape in PyTorch (transformers, PEFT, bitsandbytes; with TRL's chunked head where TRL is, with
Liger's kernels where liger_kernel is), the peer of `just gpu-bench`: the runs of train/examples/gpu/runs.rs, with the same names, lengths, rank, alpha and optimiser, random
weights made on the device, random ids, all of them targets but for questions.

    python benches/peers/gpu_torch.py [--shape llama3-8b|tiny] [--device cuda|cpu] [--runs NAME,...] [--steps 10]
                                      [--peers transformers,trl,liger] [--beside OURS.json] [--json FILE] [--ready]

Each run is taken with every layer recomputed (gradient checkpointing, as the recipes of PEFT and TRL have it) and with none;
what does not fit is said to be out of memory. What makes the peer fast is given to it: sdpa, no key-value cache, fused AdamW,
embedding and head left in bf16 (prepare_model_for_kbit_training would make them f32), the logits of TRL's chunked head.
Preference training is TRL's loss written out over one forward pass of both answers and one of the reference with the adapter
off; TRL's DPOTrainer itself adds collation and logging to that. Liger's kernels replace parts of transformers for the rest of
the process, so they come last. Unsloth is not run: its wheels want another torch.
    tokens_per_second  from the median step after one to warm up; a question counts for each of its answers, as in ours
    peak_gib           torch.cuda.max_memory_allocated; reserved_gib max_memory_reserved
`--json` is written after each of them. With `--beside` a table sets ours against the best peer of each run.
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DOCUMENTS = [1500, 900, 700, 600, 300, 96]
SHAPES = {
    "llama3-8b": dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                      num_attention_heads=32, num_key_value_heads=8),
    "tiny": dict(vocab_size=512, hidden_size=128, intermediate_size=352, num_hidden_layers=3,
                 num_attention_heads=4, num_key_value_heads=2),
}
# Name: batch, length, dropout, kind; which layers ours computes again is its own affair.
RUNS = {
    "sft-8x1024": (8, 1024, 0.0, "texts"),
    "sft-8x1024-dropout": (8, 1024, 0.1, "texts"),
    "sft-8x1024-recompute": (8, 1024, 0.0, "texts"),
    "packed-4x4096": (4, 4096, 0.0, "packed"),
    "packed-4x4096-dropout": (4, 4096, 0.1, "packed"),
    "dpo-4x1024": (4, 1024, 0.0, "pairs"),
    "least-1x2048": (1, 2048, 0.0, "least"),
}
# What they are called in tables.
PEERS = {"transformers": "transformers", "trl": "TRL's head", "liger": "Liger's kernels"}
MODULES = {"transformers": "transformers", "trl": "trl", "liger": "liger_kernel"}
RANK, ALPHA, BETA = 64, 16, 0.1


def missing(device):
    """What this Python lacks, as a sentence; nothing if it can run."""
    for module in ("torch", "transformers", "peft", "bitsandbytes"):
        if importlib.util.find_spec(module) is None:
            return f"no peer: {sys.executable} has no {module}"
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return f"no peer: torch of {sys.executable} sees no GPU"
    return None


def model_of(shape, device, least, dropout, checkpointing, chunked):
    import bitsandbytes as bnb
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SHAPES[shape], rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=8192,
                         tie_word_embeddings=False, attn_implementation="sdpa", dtype=torch.bfloat16)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.requires_grad_(False)
    for layer in model.model.layers:
        for name in LINEARS:
            block = layer.self_attn if hasattr(layer.self_attn, name) else layer.mlp
            whole = getattr(block, name)
            packed = bnb.nn.Linear4bit(whole.in_features, whole.out_features, bias=False, compute_dtype=torch.bfloat16,
                                       compress_statistics=True, quant_type="nf4")
            packed.weight = bnb.nn.Params4bit(whole.weight.data, requires_grad=False, compress_statistics=True,
                                              quant_type="nf4")
            setattr(block, name, packed.to(device))
    model.is_loaded_in_4bit = True
    if chunked:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model)
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=dropout, target_modules=LINEARS, task_type="CAUSAL_LM")
    model = get_peft_model(model, lora, autocast_adapter_dtype=not least)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    if least:
        return model, bnb.optim.AdamW8bit(trained, lr=1e-4)
    return model, torch.optim.AdamW(trained, lr=1e-4, fused=True)


def inputs_of(kind, batch, length, vocab, device):
    """Arguments of the model's forward pass, and the tokens that count as done."""
    import torch

    ids = torch.randint(0, vocab, (batch, length), device=device)
    if kind == "pairs":
        # Chosen, then rejected: the same questions before other answers.
        other = torch.cat([ids[:, : length // 2], torch.randint(0, vocab, (batch, length - length // 2), device=device)], 1)
        return {"input_ids": torch.cat([ids, other])}, 2 * batch * length
    more = {}
    if kind == "packed":
        ends = [sum(DOCUMENTS[: i + 1]) * length // sum(DOCUMENTS) for i in range(len(DOCUMENTS))]
        places = [torch.arange(end - start, device=device) for start, end in zip([0, *ends], ends)]
        more["position_ids"] = torch.cat(places).repeat(batch, 1)
    return {"input_ids": ids, "labels": ids, **more}, batch * length


def log_probabilities(model, ids, asked):
    """Sums over the answers, one text's logits in f32 at a time."""
    import torch

    logits = model(input_ids=ids, use_cache=False).logits
    sums = []
    for row, text in zip(logits, ids):
        said = torch.log_softmax(row[asked - 1 : -1].float(), -1)
        sums.append(said.gather(1, text[asked:, None]).sum())
    return torch.stack(sums)


def loss_of(model, given, kind, length, chunked):
    import torch

    if kind != "pairs":
        more = {"fused_lm_head": True} if chunked else {}
        return model(**given, use_cache=False, **more).loss
    ids, asked = given["input_ids"], length // 2
    with torch.no_grad(), model.disable_adapter():
        before = log_probabilities(model, ids, asked)
    ratio = log_probabilities(model, ids, asked) - before
    chosen, rejected = ratio.chunk(2)
    return -torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean()


def measure(args, name, checkpointing, peer):
    import torch

    batch, length, dropout, kind = RUNS[name]
    length //= 32 if args.shape == "tiny" else 1
    cuda = args.device == "cuda"
    torch.manual_seed(42)
    chunked = peer == "trl"
    out = {"run": name, "peer": PEERS[peer], "checkpointing": checkpointing}
    try:
        model, optimizer = model_of(args.shape, args.device, kind == "least", dropout, checkpointing, chunked)
        gc.collect()
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(1 + args.steps):
            given, tokens = inputs_of(kind, batch, length, SHAPES[args.shape]["vocab_size"], args.device)
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
            with torch.autocast(args.device, dtype=torch.bfloat16):
                loss = loss_of(model, given, kind, length, chunked)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            out["loss"] = loss.item()
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        out |= {"tokens": tokens, "step_seconds": seconds[1:], "first_step_seconds": seconds[0],
                "tokens_per_second": tokens / statistics.median(seconds[1:])}
        if cuda:
            out["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
            out["reserved_gib"] = torch.cuda.max_memory_reserved() / 2**30
    except torch.OutOfMemoryError:
        out["out_of_memory"] = True
    model = optimizer = None
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    return out


def number(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"


def beside(ours, peers):
    """Ratios above 1 in speed and below 100% in memory are in our favour."""
    print("\n| run | ours tok/s | best peer tok/s | times as fast | ours GiB | least peer GiB | ours: share of it |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for run in ours:
        done = [p for p in peers if p["run"] == run["run"] and "tokens_per_second" in p]
        fastest = max((p["tokens_per_second"] for p in done), default=None)
        least = min((p["peak_gib"] for p in done if "peak_gib" in p), default=None)
        speed = run["tokens_per_second"] / fastest if fastest else None
        share = 100 * run["peak_gib"] / least if least and run.get("peak_gib") else None
        cells = [number(run["tokens_per_second"]), number(fastest), number(speed, 2), number(run.get("peak_gib"), 2),
                 number(least, 2), "-" if share is None else f"{share:.0f}%"]
        print(f"| {run['run']} | {' | '.join(cells)} |")


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--shape", choices=list(SHAPES), default="llama3-8b")
    ask.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    ask.add_argument("--runs", default="")
    ask.add_argument("--steps", type=int, default=10)
    ask.add_argument("--parts", help="ours alone has them")
    ask.add_argument("--card", help="ours alone predicts for one")
    ask.add_argument("--profile", action="store_true", help="ours alone has it")
    ask.add_argument("--peers", default="")
    ask.add_argument("--beside", type=Path)
    ask.add_argument("--json", type=Path)
    ask.add_argument("--ready", action="store_true")
    args = ask.parse_args()
    lacks = missing(args.device)
    if lacks:
        sys.exit(lacks)
    if args.ready:
        return
    runs = [name for name in args.runs.split(",") if name] or list(RUNS)
    asked = [name for name in args.peers.split(",") if name] or list(PEERS)
    unknown = [name for name in asked if name not in PEERS]
    if unknown:
        sys.exit(f"no peer is called {unknown[0]}; there are {', '.join(PEERS)}")
    peers = [name for name in PEERS if name in asked and importlib.util.find_spec(MODULES[name])]
    measured = []
    print("\n| run | peer | checkpointing | tok/s | peak GiB | reserved GiB |")
    print("|---|---|---|---:|---:|---:|")
    for peer in peers:
        if peer == "liger":
            from liger_kernel.transformers import apply_liger_kernel_to_llama

            apply_liger_kernel_to_llama()
        # A preference loss needs the logits themselves.
        for name in [name for name in runs if peer != "trl" or RUNS[name][3] != "pairs"]:
            for checkpointing in [True] if name.startswith("least") else [True, False]:
                one = measure(args, name, checkpointing, peer)
                measured.append(one)
                if args.json:
                    args.json.write_text(json.dumps(measured, indent=1) + "\n")
                speed = "out of memory" if "out_of_memory" in one else number(one["tokens_per_second"])
                memory = f"{number(one.get('peak_gib'), 2)} | {number(one.get('reserved_gib'), 2)}"
                print(f"| {name} | {one['peer']} | {'yes' if checkpointing else 'no'} | {speed} | {memory} |", flush=True)
    if args.beside:
        beside(json.loads(args.beside.read_text()), measured)


main()
