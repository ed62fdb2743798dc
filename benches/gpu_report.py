"""What ptxas makes of every CUDA kernel: registers, bytes of spills, stack and static shared memory, for each GPU.

    python benches/gpu_report.py            prints the table of benches/gpu_report.tsv
    python benches/gpu_report.py --check    compiles, and fails where more is spilled than is recorded, or where a kernel
                                            is not recorded, or recorded and gone
    python benches/gpu_report.py --write    compiles and records, there and in BENCHMARKS.md

`just gpu-report [--check|--write]` finds the compiler. Each file is compiled to PTX for compute_80, and that PTX to machine code
for sm_80 and sm_90: all three are what the program carries.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent / "train/src/kernels"
RECORD = HERE / "gpu_report.tsv"
PAGE = HERE.parent / "BENCHMARKS.md"
HEAD = "| kernel | registers (sm_80, sm_90) | spilled bytes | static shared memory |"
GPUS = ["sm_80", "sm_90"]
FIELDS = ["file", "kernel", "gpu", "registers", "spill_stores", "spill_loads", "stack", "shared"]
FLAGS = ["-std=c++17", "-O3", "-Werror", "all-warnings", "-I", str(SOURCES)]  # those of train/build.rs
COMPILING = re.compile(r"Compiling entry function '(\w+)' for '(sm_\d+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def nvcc():
    home = os.environ.get("CUDA_HOME")
    return str(Path(home) / "bin/nvcc") if home else "nvcc"


def compiled():
    """Rows of FIELDS for every kernel and GPU, in the order of their names."""
    rows = []
    for source in sorted(SOURCES.glob("*/*.cu")):
        with tempfile.TemporaryDirectory() as out:
            ptx = Path(out) / "kernel.ptx"
            subprocess.run([nvcc(), *FLAGS, "-arch=compute_80", "-ptx", "-o", ptx, source], check=True)
            text = ptx.read_text()
            entries = set(re.findall(r"\.entry (\w+)", text))
            if not re.search(r"^\.target sm_80", text, re.M) or not entries:
                sys.exit(f"{source.name}: its PTX is not for sm_80, or has no kernel")
            for gpu in GPUS:
                cubin = Path(out) / f"{gpu}.cubin"
                command = [Path(nvcc()).with_name("ptxas") if "/" in nvcc() else "ptxas"]
                said = subprocess.run(
                    [*command, "-v", "-O3", f"-arch={gpu}", "-o", cubin, ptx], check=True, capture_output=True, text=True
                ).stderr
                if cubin.read_bytes()[:4] != b"\x7fELF":
                    sys.exit(f"{source.name}: no machine code for {gpu}")
                found = {}
                for block in said.split("Compiling entry function")[1:]:
                    name, target = COMPILING.match("Compiling entry function" + block).groups()
                    stack, stores, loads = STACK.search(block).groups()
                    shared = SHARED.search(block)
                    found[name] = [USED.search(block)[1], stores, loads, stack, shared[1] if shared else "0"]
                    if target != gpu:
                        sys.exit(f"{source.name}: {name} was compiled for {target}, not {gpu}")
                if set(found) != entries:
                    sys.exit(f"{source.name}: ptxas says nothing of {sorted(entries ^ set(found))}")
                rows += [[source.stem, name, gpu, *numbers] for name, numbers in sorted(found.items())]
    return sorted(rows)


def recorded():
    lines = RECORD.read_text().splitlines()
    return [line.split("\t") for line in lines[1:]]


def table(rows):
    """A line a kernel, both GPUs in a cell where they differ."""
    kernels, lines = {}, [HEAD, "|---|---:|---:|---:|"]
    for file, kernel, gpu, *numbers in rows:
        kernels.setdefault((file, kernel), {})[gpu] = numbers
    for (_, kernel), by_gpu in kernels.items():
        cells = [
            [by_gpu[gpu][0] for gpu in GPUS],
            [str(int(by_gpu[gpu][1]) + int(by_gpu[gpu][2])) for gpu in GPUS],
            [by_gpu[gpu][4] for gpu in GPUS],
        ]
        cells = [both[0] if len(set(both)) == 1 else ", ".join(both) for both in cells]
        lines.append(f"| {kernel} | {' | '.join(cells)} |")
    return "\n".join(lines)


def on_page(text, rows):
    """The page with the table of these rows in the place of its own."""
    before, _, after = text.partition(HEAD)
    return before + table(rows) + "\n\n" + after.partition("\n\n")[2]


def check(now, before):
    limits = {tuple(row[:3]): int(row[4]) + int(row[5]) for row in before}
    wrong = []
    for row in now:
        at, spilled = tuple(row[:3]), int(row[4]) + int(row[5])
        if at not in limits:
            wrong.append(f"{' '.join(at)} is not recorded")
        elif spilled > limits[at]:
            wrong.append(f"{' '.join(at)} spills {spilled} bytes, {limits[at]} are recorded")
    wrong += [f"{' '.join(at)} is recorded and gone" for at in sorted(set(limits) - {tuple(row[:3]) for row in now})]
    if not wrong and PAGE.read_text() != on_page(PAGE.read_text(), before):
        wrong.append(f"the table in {PAGE.name} is not the recorded one")
    if wrong:
        sys.exit("\n".join([*wrong, "`just gpu-report --write` records what is there now"]))
    print(f"{len(now)} kernels for {' and '.join(GPUS)}: none spills more than is recorded")


def main():
    match sys.argv[1:]:
        case []:
            print(table(recorded()))
        case ["--check"]:
            check(compiled(), recorded())
        case ["--write"]:
            rows = compiled()
            RECORD.write_text("\n".join("\t".join(row) for row in [FIELDS, *rows]) + "\n")
            PAGE.write_text(on_page(PAGE.read_text(), rows))
            print(table(rows))
        case _:
            sys.exit(__doc__)


main()
