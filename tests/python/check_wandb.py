"""Feeds runs of `setaccio train` to Weights & Biases with the script of docs/training.md, offline, and reads back what the real
library wrote.

    python tests/python/check_wandb.py RUN ...

The script is taken from the page as it stands there. Every number of metrics.jsonl must be in the history of the offline run,
at its step. Exits 1 at the first difference.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
BLOCK = 32768
HEADER = 7


def script():
    found = re.search(r"```python\n(import json, sys, wandb\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    if not found:
        raise AssertionError(f"{PAGE}: the script that feeds Weights & Biases is not there")
    return found.group(1)


def records(path):
    """The protobuf records of an offline run: framed as LevelDB frames its log, after a header of 7 bytes."""
    data = path.read_bytes()
    if data[:4] != b":W&B":
        raise AssertionError(f"{path}: begins with {data[:7]!r}")
    at, whole = HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        part = data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        whole = part if kind in (1, 2) else whole + part
        if kind in (1, 4):
            yield Record.FromString(whole)


def history(folder):
    """Values by step, of every number that was logged; what the library says of a table of samples is its own."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = {}
    for record in records(path):
        if record.WhichOneof("record_type") != "history":
            continue
        for item in record.history.item:
            key, value = item.key or "/".join(item.nested_key), json.loads(item.value_json)
            if isinstance(value, (int, float)) and not key.startswith(("_", "samples/")):
                found.setdefault(record.history.step.num, {})[key] = value
    return found


def expected(run):
    found = {}
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        step = values.pop("step")
        numbers = {k: v for k, v in values.items() if isinstance(v, (int, float))}
        found.setdefault(step, {}).update(numbers)
    return {step: values for step, values in found.items() if values}


def check(run):
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": folder, "WANDB_ERROR_REPORTING": "false"}
        command = [sys.executable, "-c", script(), str(run.resolve())]
        subprocess.run(command, cwd=folder, env=env, check=True, timeout=300)
        found, wanted = history(Path(folder)), expected(run)
    if found != wanted:
        steps = sorted(step for step in found.keys() | wanted.keys() if found.get(step) != wanted.get(step))
        first = steps[0]
        raise AssertionError(f"{run}: step {first}: found {found.get(first)}, expected {wanted.get(first)}")
    print(f"{run}: {sum(map(len, wanted.values()))} numbers of {len(wanted)} steps are in Weights & Biases' offline run")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        check(Path(argument))
