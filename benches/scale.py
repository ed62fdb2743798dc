"""What slices and joining take, and what several nodes make of it.

    python benches/scale.py SETACCIO [ROWS] [SLICES] [--store]

SETACCIO is the program. With `--store` each slice and each node has a folder of its own, and they meet in a bucket of moto on this machine, whose own
CPU time does not count; the program has the feature `store` then. Rows of random words, one in ten the same as an earlier one and one in ten nearly, go through every slice by itself and the join,
each with one thread; what is measured is their CPU time and the most memory that they held, which other work on the machine does not change. From
these numbers follows what 1, 2, 4 and 8 nodes take: a free node takes the next slice, all join, and one publishes. No file system of several machines
is in them, and no network but the loopback of `--store`.
"""

import heapq
import itertools
import json
import logging
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from check_slurm import RECIPE, published  # noqa: E402


# Words that no two rows share by chance in the same order, so that what is compared grows with the rows and not with their square.
WORDS = ["".join(syllables) for syllables in itertools.product(["ba", "co", "di", "fe", "gu", "la", "mo", "ne", "pi", "ru", "sa", "to"], repeat=4)]


def write(data: Path, rows: int) -> None:
    """The rows, in 16 files."""
    drawn, earlier = random.Random(7), []
    files = [(data / f"{i:02}.jsonl").open("w", encoding="utf-8") for i in range(16)]
    for row in range(rows):
        kind = drawn.random()
        if earlier and kind < 0.2:
            text = drawn.choice(earlier) + (f" Fine {drawn.randrange(1000)}." if kind < 0.1 else "")
        else:
            text = " ".join(drawn.choices(WORDS, k=drawn.randint(50, 100)))
            # Enough to draw from.
            if len(earlier) < 10_000 or drawn.random() < 0.02:
                earlier.append(text)
        files[row % 16].write(json.dumps({"text": text}) + "\n")
    for file in files:
        file.close()


def measured(command: list[str]) -> tuple[float, float, int]:
    """CPU seconds, wall seconds, MiB."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss // 1024


def on(nodes: int, slices: list[float]) -> float:
    """When the last of these is done, if a free node takes the next."""
    free = [0.0] * nodes
    for seconds in slices:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def serve(told: multiprocessing.Queue) -> None:
    """Be a bucket of moto until the end; says where it listens."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="lab")
    told.put(f"http://{host}:{port}")
    time.sleep(86_400)


def bucket() -> str:
    """Start a bucket, in a process of its own for the reason that rows are written by one."""
    told: multiprocessing.Queue = multiprocessing.Queue()
    multiprocessing.Process(target=serve, args=(told,), daemon=True).start()
    os.environ.update(AWS_ENDPOINT_URL=told.get(), AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")
    return "s3://lab"


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--store"]
    setaccio, store = arguments[0], bucket() if "--store" in sys.argv else ""
    rows, of = int(arguments[1]) if len(arguments) > 1 else 100_000, int(arguments[2]) if len(arguments) > 2 else 40
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        # By a process of its own: what is started by this one is said to hold at least what this one holds.
        writer = multiprocessing.Process(target=write, args=(folder / "data", rows))
        writer.start()
        writer.join()
        text = sum(file.stat().st_size for file in (folder / "data").iterdir())
        recipe = RECIPE.replace("task_bytes = 6000", "task_bytes = 1000000").replace("rows = 2500", f"rows = {rows // 2}")
        recipe = recipe.replace("shard_bytes = 200000", "shard_bytes = 20000000").replace("row_group_bytes = 20000", "row_group_bytes = 1000000")
        (folder / "lab.toml").write_text(recipe)

        def build(out: str, machine: str, *more: str) -> list[str]:
            where = ["--out", f"{store}/{out}", "--work", str(folder / machine)] if store else ["--out", str(folder / out)]
            return [setaccio, "build", str(folder / "lab.toml"), "--quiet", "--jobs", "1", *where, *more]

        whole = measured([*build("whole", "whole")[:6], "--out", str(folder / "whole")])
        joined, cpu, slices = {}, [], []
        for nodes in [1, 2, 4, 8]:
            out = f"out-{nodes}"
            if store:
                # Each node does its part of the slices, as of all that was put into the bucket of one build nothing is left for another.
                slices = [measured(build(out, f"{out}-{i % nodes}", "--task", f"{i + 1}/{of}")) for i in range(of)]
            elif not slices:
                slices = [measured(build("out", "", "--task", f"{i}/{of}")) for i in range(1, of + 1)]
            if not store:
                shutil.copytree(folder / "out", folder / out)
            cpu = cpu or [seconds for seconds, _, _ in slices]
            # All at once, as on so many nodes; what each computes is its own, how long it waits for a processor here is not.
            with ThreadPoolExecutor(nodes) as together:
                shares = list(together.map(measured, [build(out, f"{out}-{i - 1}", f"--finish={i}/{nodes}") for i in range(1, nodes + 1)]))
            published_by = measured(build(out, f"{out}-0", "--finish"))
            if published(folder / (f"{out}-0" if store else out)) != published(folder / "whole"):
                raise SystemExit(f"{nodes} processes that join make other bytes than the build in one piece")
            joined[nodes] = max(cpu for cpu, _, _ in shares), published_by[0], max(memory for _, _, memory in shares)
            for machine in folder.glob(f"{out}*"):
                shutil.rmtree(machine)
        print(f"{rows:,} rows, {text / 1e6:.1f} MB, {of} slices; CPU seconds")
        print(f"in one piece  {whole[0]:8.2f}  {whole[2]:5} MiB")
        print(f"slices        {sum(cpu):8.2f}  {max(m for _, _, m in slices):5} MiB at most, {min(cpu):.2f} to {max(cpu):.2f} each")
        print(f"{'nodes':>5} {'slices':>8} {'join':>7} {'publish':>8} {'MiB':>5} {'rows/s of slices':>17} {'rows/s of joining':>18} {'against one':>12}")
        alone = 0.0
        for nodes, (join, publish, memory) in joined.items():
            took = on(nodes, cpu)
            all_in_all = took + join + publish
            alone = alone or all_in_all
            print(f"{nodes:5} {took:8.2f} {join:7.2f} {publish:8.2f} {memory:5} {rows / took:17,.0f} {rows / (join + publish):18,.0f} "
                  f"{alone / all_in_all:11.2f}x")


if __name__ == "__main__":
    main()
