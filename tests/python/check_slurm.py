"""Slices, near-duplicates and joining on a real Slurm of two nodes, and what goes wrong there.

    python tests/python/check_slurm.py SETACCIO [NAME ...]

SETACCIO is the program. A build in 40 slices must have the bytes of a build in one piece: undisturbed, when a node is lost, when a task
fails on a bad row, when a process is killed, when time is up, when somebody cancels, when the disk is full, when `submit` is given again. A
training run that was told to stop goes on to the same adapter, and a chain to the same models.
`setaccio status` is held against the folder and the queue at each moment. Exits 1 at the first thing that is not as expected. With
NAMEs, those of the checks alone.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import slurm_cluster
from slurm_cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
SLICES = 40

# Name of a small disk of its own.
DISK = "small"

RECIPE = """
name = "lab"
title = "Lab"
about = "Texts for a test."
kind = "text"

[[source]]
name = "web"
schema = "text"
path = "data/*.jsonl"
license = "mit"
language = "it"

[dedup]
[dedup.near]

[sample]
rows = 2500

[split]
validation = 0.1

[read]
task_bytes = 6000

[output]
shard_bytes = 200000
row_group_bytes = 20000
"""

WHO = ["Il maestro", "La nonna", "Un contadino", "La maestra", "Il fornaio", "Una bambina", "Lo zio", "Il gatto"]
DOES = ["racconta", "dimentica", "ritrova", "prepara", "nasconde", "descrive", "compra", "aspetta"]
WHAT = ["una vecchia storia", "il pane appena fatto", "le chiavi di casa", "un libro di favole", "la bicicletta rossa", "il treno"]


def texts(n: int, seed: int) -> list[str]:
    """Texts, of which about one in ten is the same as an earlier one and one in ten nearly."""
    drawn, found = random.Random(seed), []
    for _ in range(n):
        kind = drawn.random()
        if found and kind < 0.1:
            found.append(drawn.choice(found))
        elif found and kind < 0.2:
            found.append(drawn.choice(found) + f" Fine {drawn.randrange(1000)}.")
        else:
            found.append(" ".join(
                f"{drawn.choice(WHO)} {drawn.choice(DOES)} {drawn.choice(WHAT)} per la {drawn.randrange(100000)}esima volta."
                for _ in range(drawn.randint(6, 14))
            ))
    return found


class Lab:
    """A recipe with its rows, and the program on a cluster."""

    def __init__(self, setaccio: Path, cluster: Cluster, folder: Path, rows: int = 4000, recipe: str = RECIPE):
        self.setaccio, self.cluster, self.folder = setaccio, cluster, folder
        (folder / "data").mkdir(parents=True)
        self.recipe = folder / "lab.toml"
        self.recipe.write_text(recipe)
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts(rows, 7)]
        for i in range(8):
            (folder / "data" / f"{i}.jsonl").write_text("".join(lines[i::8]))
        self.out = folder / "it's an out"

    def call(self, *arguments: str, code: int = 0) -> str:
        command = [str(self.setaccio), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.cluster.environment, capture_output=True, text=True)
        if done.returncode != code:
            raise SystemExit(f"{' '.join(command)} exits with {done.returncode}, not {code}:\n{done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def submit(self, *more: str) -> dict:
        arguments = ["--slurm", "--tasks", str(SLICES), "--jobs", "1", "--mem", "100M", "--out", str(self.out), "--json", *more]
        return json.loads(self.call("submit", str(self.recipe), *arguments))

    def status(self) -> dict:
        return json.loads(self.call("status", str(self.out), "--json"))

    def states(self) -> dict[str, int]:
        counted: dict[str, int] = {}
        for part in self.status()["slices"]:
            counted[part["state"]] = counted.get(part["state"], 0) + 1
        return counted

    def single(self) -> dict[str, str]:
        """The bytes of a build in one piece."""
        out = self.folder / "single"
        self.call("build", str(self.recipe), "--out", str(out))
        return published(out)

    def is_single(self, what: str) -> None:
        expect(f"{what}: it is published", self.status()["published"], True)
        expect(f"{what}: the bytes are those of a build in one piece", published(self.out), self.single())
        self.call("verify", str(self.out))

    def true_status(self) -> None:
        """What status says against what lies in the folder and in the queue, both read before and after it."""
        done_before, queue_before = self.done(), {job[0] for job in self.cluster.jobs()}
        status = self.status()
        done_after, queue_after = self.done(), {job[0] for job in self.cluster.jobs()}
        if status["published"]:
            expect("what is published is there", (self.out / "ledger.json").exists(), True)
            return
        for part in status["slices"]:
            number = int(part["part"].split("/")[0])
            if part["state"] == "done":
                expect(f"slice {number} is done", done_after is None or number in done_after, True)
            elif done_before is not None:
                expect(f"slice {number} is {part['state']}, and is not done", number in done_before, False)
            if part["state"] == "waiting":
                expect(f"what waits is in the queue", bool(queue_before | queue_after), True)
            if part["state"] in ("failed", "stopped"):
                expect(f"slice {number} says why", bool(part.get("why")), True)

    def done(self) -> set[int] | None:
        """The slices whose tasks have all left a manifest; None once it is published."""
        hidden = self.out / ".setaccio"
        try:
            tasks = json.loads((hidden / "parts" / "outline.json").read_text())["tasks"]
        except FileNotFoundError:
            return set() if not (self.out / "ledger.json").exists() else None
        there = {path.stem for path in (hidden / "work").glob("*.json")}
        # What is looked at last goes last: all is done once it is marked as whole, or published.
        if (hidden / "publishing").exists() or (self.out / "ledger.json").exists():
            return set(range(1, SLICES + 1))
        return {i + 1 for i in range(SLICES) if all(key in there for key in tasks[i::SLICES])}

    def watch(self, seconds: float = 240) -> None:
        """Look at status until no job is left."""
        deadline = time.monotonic() + seconds
        while self.cluster.jobs():
            self.true_status()
            if time.monotonic() > deadline:
                raise SystemExit(f"jobs are still in the queue after {seconds} s: {self.cluster.jobs()}")
            time.sleep(0.2)
        self.true_status()


def published(out: Path) -> dict[str, str]:
    """The hash of every file but the hidden ones."""
    files = [path for path in out.rglob("*") if path.is_file() and not path.relative_to(out).parts[0].startswith(".")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def expect(what: str, found, wanted) -> None:
    if found != wanted:
        raise SystemExit(f"{what}:\n  found  {found}\n  wanted {wanted}")


def undisturbed(lab: Lab) -> None:
    began = time.monotonic()
    done = lab.submit()
    expect("all slices are submitted", done["submitted"], list(range(1, SLICES + 1)))
    # Again, while they are in the queue.
    again = lab.submit()
    expect("a second submit finds them in the queue", (again["status"], again["jobs"]), ("queued", {}))
    lab.watch()
    print(f"  {SLICES} slices and what joins them: {time.monotonic() - began:.1f} s")
    lab.is_single("undisturbed")
    expect("a submit afterwards", lab.submit()["status"], "up_to_date")
    expect("and nothing is in the queue", lab.cluster.jobs(), [])


def a_node_is_lost(lab: Lab) -> None:
    lab.submit()
    lab.cluster.until("both nodes work", lambda: {job[2] for job in lab.cluster.jobs() if job[1] == "RUNNING"} >= {"n1", "n2"})
    lab.cluster.kill_node("n2")
    lab.watch()
    lab.cluster.start_node("n2")
    lab.cluster.until("both nodes are back", lambda: lab.cluster.idle() == 2)
    lab.is_single("a node was lost")


def a_row_is_bad(lab: Lab) -> None:
    file = lab.folder / "data" / "3a.jsonl"
    whole = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts(3, 8))
    file.write_text(whole + "{broken\n")
    lab.submit()
    lab.watch()
    status = lab.status()
    failed = [part for part in status["slices"] if part["state"] == "failed"]
    expect("one slice failed", len(failed), 1)
    expect("and says on which row", "3a.jsonl, row 3" in failed[0]["why"], True)
    expect("its log is there", Path(failed[0]["log"]).exists(), True)
    expect("nothing is published", (status["published"], (lab.out / "ledger.json").exists()), (False, False))
    expect("nothing waits any more", lab.cluster.jobs(), [])
    file.write_text(whole)
    again = lab.submit()
    # The only task of the file that changed; the others are done.
    expect("one slice is submitted again", len(again["submitted"]), 1)
    lab.watch()
    lab.is_single("a row was bad")


def processes_of(lab: Lab, what: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0] == str(lab.setaccio) and what in words and str(lab.out) in words:
            found.append(int(path.name))
    return found


def a_process_is_killed(lab: Lab) -> None:
    lab.submit()
    lab.cluster.until("a slice runs", lambda: bool(processes_of(lab, "--task")), 30)
    killed = 0
    for process in processes_of(lab, "--task")[:2]:
        try:
            os.kill(process, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    lab.watch()
    states = lab.states()
    expect("killed ones ended without a word", (killed > 0, 0 < states.get("lost", 0) <= killed), (True, True))
    expect("the others are done", states["done"], SLICES - states["lost"])
    again = lab.submit()
    expect("those alone are submitted again", len(again["submitted"]), states["lost"])
    lab.watch()
    lab.is_single("a process was killed")


def it_is_cancelled(lab: Lab) -> None:
    job = lab.submit()["jobs"]["slices"]
    lab.cluster.until("some are done", lambda: lab.states().get("done", 0) >= 4, 60)
    lab.cluster.run("scancel", job)
    lab.watch()
    states = lab.states()
    expect("what was done stays done", (states["done"] >= 4, states["done"] < SLICES), (True, True))
    expect("and what joins them is gone", lab.cluster.jobs(), [])
    again = lab.submit()
    expect("the others are submitted again", len(again["submitted"]), SLICES - states["done"])
    lab.watch()
    lab.is_single("it was cancelled")


def several_slices_an_element(lab: Lab) -> None:
    done = lab.submit("--elements", "6")
    script = Path(done["scripts"]) / "slices.sh"
    expect("the array has six elements", "#SBATCH --array=1-6\n" in script.read_text(), True)
    lab.watch()
    lab.is_single("several slices an element")


def the_disk_is_full(lab: Lab) -> None:
    disk = lab.folder.parent / DISK
    lab.out = disk / "out"
    lab.submit()
    lab.watch()
    status = lab.status()
    failed = [part for part in status["slices"] if part["state"] in ("failed", "lost")]
    expect("some slices failed, and each that is not done", len(failed), SLICES - lab.states().get("done", 0))
    said = " ".join(part.get("why") or "" for part in failed)
    # Where there is no room for a note either, and the log is on the same disk, nobody can say why.
    expect(f"and say that the disk is full, where there was room to say it: {said!r}", "No space left" in said or not said.strip(), True)
    expect("nothing is published", status["published"], False)
    subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
    again = lab.submit()
    expect("what is submitted again is what is missing", len(again["submitted"]), len(failed))
    lab.watch()
    lab.is_single("the disk was full")


def time_is_up(lab: Lab) -> None:
    # One slice of all rows, which takes longer than it takes to see that it runs.
    arguments = ["--time", "5", "--tasks", "1", "--finish-tasks", "2"]
    command = ["submit", str(lab.recipe), "--slurm", "--jobs", "1", "--mem", "100M", "--out", str(lab.out), "--json", *arguments]
    done = json.loads(lab.call(*command))
    lab.cluster.until("the slice runs", lambda: lab.status()["slices"][0]["state"] == "running", 60)
    # As Slurm does when the time is nearly up, however fast this machine is.
    lab.cluster.run("scancel", "--batch", "--signal=USR1", done["jobs"]["slices"])
    lab.cluster.settle(400)
    log = (Path(done["scripts"]) / "logs" / "slices-1.log").read_text()
    expect("it was stopped", "goes on from there" in log, True)
    lab.is_single("time was up")


def a_run_goes_on(lab: Lab) -> None:
    data, alone = lab.folder / "sft", lab.folder / "alone"
    lab.call("build", str(ROOT / "pipelines" / "sft-mix.toml"), "--out", str(data))
    recipe = str(ROOT / "pipelines" / "train" / "tiny.toml")
    sets = ["--set", f'data.train=["{data}"]', "--set", "checkpoint.every=3"]
    lab.call("train", recipe, *sets, "--max-steps", "12", "--out", str(alone))
    submit = ["submit", recipe, *sets, "--slurm", "--jobs", "2", "--mem", "500M", "--out", str(lab.out), "--json", "--", "--max-steps", "12"]
    done = json.loads(lab.call(*submit))
    job = done["jobs"]["train"]
    expect("a second submit finds it in the queue", json.loads(lab.call(*submit))["status"], "queued")
    checkpoints = lab.out / "checkpoints"
    lab.cluster.until("a checkpoint is there", lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), 120)
    expect("it runs", lab.status()["train"]["state"], "running")
    # As Slurm does when the time is nearly up.
    lab.cluster.run("scancel", "--batch", "--signal=USR1", job)
    lab.cluster.until("it waits for its turn", lambda: any(job[1] == "PENDING" for job in lab.cluster.jobs()), 60)
    lab.cluster.settle(240)
    log = (Path(done["scripts"]) / "logs" / "train.log").read_text()
    expect("it was resumed", "resumed from step" in log, True)
    status = lab.status()["train"]
    expect("status says that it is done, and at which step it ended", (status["state"], status["step"]), ("done", 12))
    expect("the model is that of a run without a stop", weights(lab.out), weights(alone))
    expect("a submit afterwards goes on with nothing", json.loads(lab.call(*submit))["status"], "submitted")
    lab.cluster.settle(120)
    expect("and status says that it is done", lab.status()["train"]["state"], "done")


def weights(out: Path) -> dict[str, str]:
    """The hash of every file of weights that a run or a chain leaves, but for checkpoints."""
    files = [path for end in ("safetensors", "gguf") for path in out.rglob(f"*.{end}")]
    files = [path for path in files if "checkpoints" not in path.parts and not any(part.startswith(".") for part in path.relative_to(out).parts)]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def a_run_fails(lab: Lab) -> None:
    recipe = str(ROOT / "pipelines" / "train" / "tiny.toml")
    submit = ["submit", recipe, "--slurm", "--jobs", "1", "--mem", "500M", "--out", str(lab.out), "--json"]
    lab.call(*submit, "--set", 'data.train=["nowhere"]')
    lab.cluster.settle(120)
    status = lab.status()
    expect("it failed", status["train"]["state"], "failed")
    expect("and says why", "nowhere" in status["train"]["why"], True)
    expect("and how it is submitted again", "submit" in status["again"], True)
    data = lab.folder / "sft"
    lab.call("build", str(ROOT / "pipelines" / "sft-mix.toml"), "--out", str(data))
    lab.call(*submit, "--set", f'data.train=["{data}"]', "--", "--max-steps", "400")
    lab.cluster.until("it trains", lambda: lab.status()["train"].get("at") == "train", 120)
    for process in processes_of(lab, "--resume"):
        os.kill(process, signal.SIGKILL)
    lab.cluster.settle(60)
    expect("it was killed", lab.status()["train"]["state"], "lost")


def a_chain_goes_on(lab: Lab) -> None:
    alone = lab.folder / "alone"
    sets = [
        word
        for stage in ("sft", "dpo", "adapt")
        for change in ("train.max_steps=6", "data.max_length=128", "checkpoint.every=1")
        for word in ("--set", f"{stage}.{change}")
    ]
    lab.call("train-all", "tiny", *sets, "--jobs", "2", "--out", str(alone))
    submit = ["submit", "tiny", "--chain", *sets, "--slurm", "--jobs", "2", "--mem", "1G", "--out", str(lab.out), "--json"]
    done = json.loads(lab.call(*submit))
    expect("a second submit finds it in the queue", json.loads(lab.call(*submit))["status"], "queued")
    checkpoints = lab.out / "dpo" / "checkpoints"
    lab.cluster.until("its second stage trains", lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), 240)
    status = lab.status()["train"]
    expect("it runs, and says at which step", (status["state"], "step" in status["at"]), ("running", True))
    # As Slurm does when the time is nearly up.
    lab.cluster.run("scancel", "--batch", "--signal=USR1", done["jobs"]["train"])
    lab.cluster.until("it waits for its turn", lambda: any(job[1] == "PENDING" for job in lab.cluster.jobs()), 60)
    expect("status says so", lab.status()["train"]["state"], "waiting")
    lab.cluster.settle(400)
    log = (Path(done["scripts"]) / "logs" / "train.log").read_text()
    expect("its second stage was resumed", "resumed: 6 steps" in log, True)
    expect("its first stage was not done again", log.count("up to date") > 0, True)
    expect("status says that it is done", lab.status()["train"]["state"], "done")
    expect("the models are those of a chain without a stop", weights(lab.out), weights(alone))


CHECKS = {
    "undisturbed": undisturbed,
    "node": a_node_is_lost,
    "row": a_row_is_bad,
    "killed": a_process_is_killed,
    "cancelled": it_is_cancelled,
    "elements": several_slices_an_element,
    "disk": the_disk_is_full,
    "time": time_is_up,
    "train": a_run_goes_on,
    "failed": a_run_fails,
    "chain": a_chain_goes_on,
}


def main() -> None:
    setaccio = Path(sys.argv[1]).resolve()
    if absent := slurm_cluster.missing():
        raise SystemExit(f"not here: {', '.join(absent)}")
    wanted = sys.argv[2:] or list(CHECKS)
    with tempfile.TemporaryDirectory() as folder:
        # munged wants everybody to reach its socket.
        Path(folder).chmod(0o755)
        # Nodes see what was mounted before they began.
        disk = Path(folder) / DISK
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", disk], check=True)
        try:
            with Cluster(Path(folder) / "slurm") as cluster:
                for name in wanted:
                    began = time.monotonic()
                    rows = 40000 if name == "time" else 4000
                    recipe = RECIPE.replace("6000", "40000") if name == "time" else RECIPE
                    CHECKS[name](Lab(setaccio, cluster, Path(folder) / name, rows, recipe))
                    print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
        finally:
            subprocess.run(["umount", disk], check=True)
    print("a build on Slurm has the bytes of a build in one piece, whatever went wrong")


if __name__ == "__main__":
    main()
