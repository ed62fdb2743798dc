"""AdamW of PyTorch and AdamW8bit of bitsandbytes over 50 steps on the CPU, and the learning rates of transformers'
schedules; values and gradients are formulas. Writes adamw.json.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/adamw.py

Sizes are multiples of 32 where moments are compared by hash: PyTorch's vector code rounds a * b + c once, its code
for the last few elements twice. On the CPU bitsandbytes lets a gradient that is not finite through, where its GPU
code zeroes the element's moments and leaves the value; the case for that does so by hand before and after the step.
"""

import bitsandbytes as bnb
import numpy as np
import torch
from common import child, key, sha256, uniform_vec, write_json
from transformers import get_scheduler

torch.set_num_threads(1)
STEPS, SHOWN = 50, (1, 2, 10, 50)
LR = 1e-3

# name, optimiser, size, weight decay, type, factor on the gradient
CASES = [
    ("adamw", "adamw", 992, 0.0, "float32", 1.0),
    ("adamw with decay", "adamw", 5120, 0.01, "float32", 1.0),
    ("adamw clipped", "adamw", 5120, 0.01, "float32", 0.3),
    ("8 bit, small", "adamw_8bit", 2048, 0.01, "float32", 1.0),
    ("8 bit, just below", "adamw_8bit", 4064, 0.0, "float32", 1.0),
    ("8 bit", "adamw_8bit", 8192, 0.0, "float32", 1.0),
    ("8 bit, ragged, with decay", "adamw_8bit", 4512, 0.01, "float32", 1.0),
    ("8 bit, clipped", "adamw_8bit", 4096, 0.01, "float32", 0.3),
    ("8 bit of bf16", "adamw_8bit", 4512, 0.01, "bfloat16", 1.0),
    ("8 bit, small, of bf16", "adamw_8bit", 2048, 0.01, "bfloat16", 1.0),
    ("8 bit, not finite", "adamw_8bit", 4512, 0.0, "float32", 1.0),
]
# step, element, gradient
NOT_FINITE = [(3, 5, float("nan")), (4, 700, float("inf")), (4, 4500, float("-inf")), (30, 5, float("inf"))]


def value(name, n):
    return uniform_vec(key(5, f"value/{name}"), n, 0.5)


def gradient(name, step, n):
    """Rows of 64 of very different sizes, with a sign that mostly stays; every tenth element is 0."""
    k = child(key(5, f"gradient/{name}"), step)
    i = np.arange(n)
    g = uniform_vec(k, n, 1.0) + uniform_vec(key(5, f"drift/{name}"), n, 1.0)
    g = g * np.float32(2.0) ** -((i // 64) % 12).astype(np.float32)
    g[i % 10 == 3] = 0
    return g


def lr(step):
    return LR * (STEPS - step + 1) / STEPS


def run(name, kind, n, decay, dtype, factor):
    dtype = getattr(torch, dtype)
    p = torch.nn.Parameter(torch.from_numpy(value(name, n)).to(dtype))
    options = {"lr": LR, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": decay}
    opt = (torch.optim.AdamW if kind == "adamw" else bnb.optim.AdamW8bit)([p], **options)
    shown = []
    for step in range(1, STEPS + 1):
        g = gradient(name, step, n) * np.float32(factor)
        skipped = [e for s, e, _ in NOT_FINITE if s == step] if "not finite" in name else []
        before = p.detach().clone()
        for e in skipped:
            g[e] = 0
            opt.state[p]["state1"][e] = 127
            opt.state[p]["state2"][e] = 0
        p.grad = torch.from_numpy(g).to(dtype)
        opt.param_groups[0]["lr"] = lr(step)
        opt.step()
        for e in skipped:
            assert p[e] == before[e]
        if step in SHOWN:
            state = opt.state[p]
            names = ("exp_avg", "exp_avg_sq") if kind == "adamw" else ("state1", "absmax1", "state2", "absmax2")
            parts = {k: sha256(state[k]) for k in names if k in state}
            v = p.detach().float()
            shown.append(
                {
                    "step": step,
                    "sum": v.double().sum().item(),
                    "values": [v[i].item() for i in range(0, n, n // 16)],
                    "moments": list(parts.values()),
                }
            )
    return {
        "name": name,
        "optimizer": kind,
        "n": n,
        "weight_decay": decay,
        "dtype": str(dtype).removeprefix("torch."),
        "grad_scale": factor,
        "shown": shown,
    }


SCHEDULES = [("linear", 20, 3, 0.0), ("linear", 20, 0, 0.12), ("cosine", 20, 0, 0.0), ("cosine", 25, 5, 0.0)]
SCHEDULES += [("constant", 12, 4, 0.0), ("constant", 5, 0, 0.0), ("linear", 3, 10, 0.0), ("linear", 1, 0, 0.03)]


def schedule(name, total, steps, ratio):
    """What Trainer does: the rate that the optimiser has at each of its steps, and two beyond the end."""
    import math

    warmup = steps if steps > 0 else math.ceil(total * ratio)
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    s = get_scheduler("constant_with_warmup" if name == "constant" else name, opt, warmup, total)
    rates = []
    for _ in range(total + 2):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        s.step()
    return {"schedule": name, "total": total, "warmup_steps": steps, "warmup_ratio": ratio, "rates": rates}


RESUMED = [("linear", 0, 0.1, [(12, 12), (20, 20)]), ("cosine", 0, 0.1, [(5, 12), (9, 20), (16, 16)])]
RESUMED += [("linear", 3, 0.0, [(4, 30), (10, 10)]), ("constant", 0, 0.5, [(6, 6), (12, 12)])]


def resumed(name, steps, ratio, legs):
    """What Trainer does when it goes on from a checkpoint with another `max_steps`: a scheduler of the new length that
    takes over the state of the one before. Each leg is where it ended and how long the run was to be then."""
    import math

    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    kind = "constant_with_warmup" if name == "constant" else name
    rates, states = [], None
    for until, total in legs:
        warmup = steps if steps > 0 else math.ceil(total * ratio)
        s = get_scheduler(kind, opt, warmup, total)
        if states is not None:
            s.load_state_dict(states[0])
            opt.load_state_dict(states[1])
        while len(rates) < until:
            # The rate is in the optimiser's state: that of the next step was set by the scheduler of the leg before.
            rates.append(opt.param_groups[0]["lr"])
            opt.step()
            s.step()
        states = s.state_dict(), opt.state_dict()
    return {"schedule": name, "warmup_steps": steps, "warmup_ratio": ratio, "legs": legs, "rates": rates}


def clipped():
    """Norms and factors of torch.nn.utils.clip_grad_norm_."""
    out = []
    for scale, limit in ((1.0, 1.0), (1e-3, 1.0), (50.0, 0.3)):
        params = []
        for i, n in enumerate((1000, 70000)):
            p = torch.nn.Parameter(torch.zeros(n))
            p.grad = torch.from_numpy(uniform_vec(key(6, f"clip/{i}"), n, scale))
            params.append(p)
        first = params[0].grad[0].item()
        norm = torch.nn.utils.clip_grad_norm_(params, limit).item()
        out.append({"scale": scale, "max": limit, "norm": norm, "factor": params[0].grad[0].item() / first})
    return out


write_json(
    __file__,
    {
        "versions": {"bitsandbytes": bnb.__version__, "torch": torch.__version__.split("+")[0]},
        "cases": [run(*c) for c in CASES],
        "schedules": [schedule(*s) for s in SCHEDULES],
        "resumed": [resumed(*r) for r in RESUMED],
        "clip": clipped(),
    },
)
