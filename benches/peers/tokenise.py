"""The rows and the clock of benches/tokenise.sh, whose head says what is measured."""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SETACCIO = os.environ["SETACCIO"]
EACH = 100_000
TOLD = re.compile(r"^tokenise: (\d+) of \d+")


def write_rows(path, rows):
    """Chats of two or four turns, 5 to 40 words each, of 20,000 made-up words, the frequent ones by Zipf's law."""
    rng = random.Random(17)
    letters = ["a", "e", "i", "o", "u"], list("bcdfglmnprstvz")
    words = ["".join(rng.choice(letters[(i + 1) % 2]) for i in range(rng.randint(2, 11))) for _ in range(20_000)]
    weights = [1 / (rank + 5) for rank in range(len(words))]
    # Drawing from a list is several times as fast as drawing by weights.
    drawn = rng.choices(words, weights, k=2_000_000)

    def text():
        at, n = rng.randrange(len(drawn) - 40), rng.randint(5, 40)
        return f"{' '.join(drawn[at : at + n])} {rng.randrange(10**6)}."

    with path.open("w", encoding="utf-8") as out:
        for _ in range(rows):
            turns = [{"role": role, "content": text()} for _ in range(rng.randint(1, 2)) for role in ("user", "assistant")]
            out.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")


def peak_mb(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Rates:
    """A line of a table for each hundred thousand rows, as they are done."""

    def __init__(self):
        # Processor seconds say the same where other work is beside it.
        print("| rows | rows/s | rows a processor second |\n|---:|---:|---:|", flush=True)
        self.last, self.mark = None, EACH

    def add(self, at, cpu, rows):
        if self.last is None:
            self.last = (at, cpu, rows)
        elif rows >= self.mark:
            (began, before, first), self.last = self.last, (at, cpu, rows)
            rates = ((rows - first) / (at - began), (rows - first) / (cpu - before))
            print(f"| {first} to {rows} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)
            self.mark = (rows // EACH + 1) * EACH


def plan(rows, out, options, until=None, rates=None):
    """Run `train --plan`; [seconds, processor seconds, rows done], peak MB and seconds. Killed when it has `until` rows."""
    command = [SETACCIO, "train", rows, "--plan", "--out", out, "--model", options.model, "--jobs", str(options.threads)]
    began, told, peaks = time.monotonic(), [], [0.0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        done = threading.Event()

        def watch():
            while not done.wait(0.1):
                peaks.append(peak_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        # Its plan is long enough to fill a pipe.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        said = []
        for line in process.stderr:
            said.append(line)
            if found := TOLD.match(line):
                told.append((time.monotonic() - began, cpu_seconds(process.pid), int(found[1])))
                if rates:
                    rates.add(*told[-1])
                if until and told[-1][2] >= until:
                    process.send_signal(signal.SIGKILL)
                    break
        process.wait()
        done.set()
        watcher.join()
        reader.join()
    if until is None and process.returncode not in (0, 1) or not told:
        sys.exit(f"{command}: {process.returncode}\n{''.join(said[-20:])}")
    return told, max(peaks), time.monotonic() - began


def digest(out):
    [path] = (Path(out) / "tokens").glob("train-*.tokens")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep")
    cache = os.environ.get("SETACCIO_ASSETS", os.path.expanduser("~/.cache/setaccio-assets"))
    parser.add_argument("--model", default=f"{cache}/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    options = parser.parse_args()
    folder = Path(options.keep or tempfile.mkdtemp(prefix="setaccio-tokenise."))
    folder.mkdir(exist_ok=True)
    try:
        measure(folder, options)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def measure(folder, options):
    chats = folder / "chats.jsonl"
    if not chats.exists():
        write_rows(folder / "new", options.rows)
        (folder / "new").rename(chats)
    whole, cut = folder / "whole", folder / "cut"
    data = whole / "data"
    if not data.exists():
        command = [SETACCIO, "train", chats, "--out", whole, "--model", options.model, "--max-steps", "1", "--plan", "--set", "data.limit=1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for place in (whole, cut):
        shutil.rmtree(place / "tokens", ignore_errors=True)
    print(f"{options.rows} rows, {chats.stat().st_size / 1e6:.0f} MB of JSON, {options.threads} threads\n")
    _, peak, seconds = plan(data, whole, options, rates=Rates())
    found, size = digest(whole)
    print(f"\nall: {seconds:.0f} s with the check of what was written, peak {peak:.0f} MB, {size / 1e6:.0f} MB of tokens", flush=True)
    before, _, _ = plan(data, cut, options, until=options.rows // 2)
    after, _, seconds = plan(data, cut, options)
    same = digest(cut)[0] == found
    print(f"killed at {before[-1][2]} rows and started again: {seconds:.0f} s, the first told {after[0][2]}, tokens {'the same' if same else 'OTHERS'}")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
