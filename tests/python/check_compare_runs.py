"""What `setaccio compare` tells of two runs, found again in their files by Python.

    python tests/python/check_compare_runs.py SETACCIO RUN RUN

Exits 1 at the first thing that is not as expected.
"""

import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path

ASIDE = {"step", "epoch", "num_tokens", "eval_num_tokens", "learning_rate", "samples"}
CLOCK = {"tokens_per_second", "peak_memory_gib", "predicted_memory_gib"}


def alike(one, other):
    """Whether they are the same but for the last bits of a number, which the program's reader of JSON may miss."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-14)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def same(what, found, expected):
    if not alike(found, expected):
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def flat(table, above=""):
    """Keys and values of a recipe."""
    for name, value in table.items():
        key = f"{above}.{name}" if above else name
        if isinstance(value, dict):
            yield from flat(value, key)
        else:
            yield key, value


def opened(run):
    lock = tomllib.loads((run / "run.lock.toml").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return lock, lines


def values(lines, name):
    return [(line["step"], line[name]) for line in lines if line.get(name) is not None]


def spread(all, most):
    n = min(len(all), most)
    return [all[i * len(all) // n - 1] for i in range(1, n + 1)]


def main(setaccio, *runs):
    said = subprocess.run([setaccio, "compare", *runs, "--json"], check=True, capture_output=True, text=True)
    said = json.loads(said.stdout)
    (lock_a, a), (lock_b, b) = (opened(Path(run)) for run in runs)

    recipes = [dict(flat(lock["recipe"])) for lock in (lock_a, lock_b)]
    differ = sorted(key for key in recipes[0] | recipes[1] if recipes[0].get(key) != recipes[1].get(key))
    same("lines of the recipe that differ", [key for key, _ in said["recipe"]], differ)
    data = [{d["name"]: (d["recipe_lock_sha256"], d["rows"], d["files"]) for d in lock["data"]} for lock in (lock_a, lock_b)]
    same("whether data differ", bool(said["data"]), data[0] != data[1])
    base = [[(f["file"], f["sha256"]) for f in lock["base"]] for lock in (lock_a, lock_b)]
    same("whether bases differ", any(key.startswith("base ") for key, _ in said["model"]), base[0] != base[1])

    names = {name for line in a + b for name, value in line.items() if isinstance(value, (int, float))} - ASIDE
    same("measures", [m["name"] for m in said["measures"]], sorted(names))
    for measure in said["measures"]:
        of = [values(lines, measure["name"]) for lines in (a, b)]
        same(f"the last {measure['name']}", measure["last"], [all[-1][1] if all else None for all in of])
        if measure["name"] in ("loss", "eval_loss"):
            least = [list(min(all, key=lambda at: at[1])) if all else None for all in of]
            same(f"the least {measure['name']}", measure["least"], least)

    expected = []
    for key in ("eval_loss", "loss"):
        other = {line["step"]: line for line in reversed(b) if line.get(key) is not None}
        pairs = [(line, other[line["step"]]) for line in a if line.get(key) is not None and line["step"] in other]
        for one, two in spread(pairs, 12):
            for name in sorted(one):
                told = name not in ASIDE | CLOCK and name.startswith("eval_") == (key == "eval_loss")
                if told and one[name] is not None and two.get(name) is not None:
                    expected.append((one["step"], name, [one[name], two[name]]))
    same("values after the same steps", [(at["step"], at["name"], at["values"]) for at in said["steps"]], expected)

    asked = [next((line for line in reversed(lines) if line.get("samples")), None) for lines in (a, b)]
    texts = [{s["prompt"]: [line["step"], s["text"]] for s in line["samples"]} if line else {} for line in asked]
    prompts = list(dict.fromkeys([*texts[0], *texts[1]]))
    same("samples", said["samples"], [{"prompt": p, "texts": [texts[0].get(p), texts[1].get(p)]} for p in prompts])
    print(f"compare: as the files of {runs[0]} and {runs[1]} say, {len(expected)} values after the same steps")


if __name__ == "__main__":
    main(*sys.argv[1:])
