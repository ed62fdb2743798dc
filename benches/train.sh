#!/usr/bin/env bash
# `just bench-train [--batch 4] [--length 512] [--steps 5] [--rank 16] [--dropout 0] [--threads 2] [--checkpointing]
# [--loss model|trl] [--attention sdpa|eager] [--dtype f32|bf16]`: tokens per second and peak memory of LoRA on SmolLM2-135M, ours
# and PyTorch + PEFT, one after the other on this machine, with the same number of threads.
# --checkpointing computes every layer again in the backward pass, on both sides. The peer runs with transformers' loss
# over all logits and with TRL's chunked head, or with the one that --loss names.
# --dtype bf16 rounds the factors of products: `train.dtype` on our side, torch.autocast on the other; weights stay f32.
# tools/fetch-assets.sh brings the model. Needs a virtual environment with the packages of tests/oracles/requirements.txt,
# in SETACCIO_ORACLES or ~/.cache/setaccio-oracles.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}"
SETACCIO_ASSETS="$(tools/fetch-assets.sh)"
export SETACCIO_ASSETS
python="${SETACCIO_ORACLES:-$cache/setaccio-oracles}/bin/python"
model="$SETACCIO_ASSETS/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
[ -x "$python" ] || { echo "no $python: the head of tests/oracles/requirements.txt says how to make it; SETACCIO_ORACLES names another" >&2; exit 1; }

layers=30 # of SmolLM2-135M
threads=2 ours=() peer=() losses=(model trl)
while [ $# -gt 0 ]; do
    case "$1" in
        --checkpointing) ours+=("recompute=$layers") peer+=("$1") && shift && continue ;;
        --batch | --length | --steps | --rank | --dropout | --threads | --loss | --attention | --dtype) ;;
        *) echo "unknown option $1: the head of benches/train.sh lists them" >&2; exit 1 ;;
    esac
    [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 1; }
    case "$1" in
        --threads) threads="$2" ;;
        --loss) losses=("$2") ;;
        --attention) peer+=("$1" "$2") ;;
        *) ours+=("${1#--}=$2") peer+=("$1" "$2") ;;
    esac
    shift 2
done

# The example alone: cargo's own memory and time are not measured, each side reads its own.
cargo build --release --quiet -p setaccio-train --example bench
bench="${CARGO_TARGET_DIR:-target}/release/examples/bench"

out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
# side NAME COMMAND...: one line of JSON in $out/NAME.json, which is its last line of output.
side() {
    local name="$1"
    shift
    "$@" >"$out/log" 2>"$out/errors" || { cat "$out/log" "$out/errors" >&2; exit 1; }
    tail -n 1 "$out/log" >"$out/$name.json"
}

echo "$(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -u +%F), commit $(git rev-parse --short HEAD)"
echo
side setaccio env RAYON_NUM_THREADS="$threads" "$bench" "$model" "${ours[@]}"
for loss in "${losses[@]}"; do
    side "$loss" "$python" benches/peers/train_torch.py --threads "$threads" --loss "$loss" "${peer[@]}"
done

# Ratios above 1 in speed and below 1 in memory are in our favour.
"$python" - "$out" "${losses[@]}" <<'PYTHON'
import json
import statistics
import sys
from pathlib import Path

folder, peers = Path(sys.argv[1]), sys.argv[2:]
ours, *others = [json.loads((folder / f"{name}.json").read_text()) for name in ("setaccio", *peers)]
named = {"model": "PyTorch + PEFT", "trl": "PyTorch + PEFT, chunked head of TRL"}
for other in others:
    for key in ("batch", "length", "threads"):
        if ours[key] != other[key]:
            sys.exit(f"{key} is {ours[key]} on our side and {other[key]} on the other")
print(f"SmolLM2-135M, {ours['dtype']}, LoRA on all linear layers, batch {ours['batch']}, length {ours['length']}, "
      f"{ours['threads']} threads, median of {len(ours['step_seconds'])} steps:\n")
print("| | s/step | tokens/s | peak MiB | ours: times as fast | ours: share of its peak |")
print("|---|---:|---:|---:|---:|---:|")
for name, side in [("setaccio", ours), *((named[p], o) for p, o in zip(peers, others))]:
    fast = share = ""
    if side is not ours:
        fast = f"{ours['tokens_per_second'] / side['tokens_per_second']:.2f}"
        share = f"{100 * ours['peak_rss_mib'] / side['peak_rss_mib']:.0f}%"
    seconds = statistics.median(side["step_seconds"])
    print(f"| {name} | {seconds:.2f} | {side['tokens_per_second']:.0f} | {side['peak_rss_mib']:.0f} | {fast} | {share} |")
if "predicted_mib" in ours:
    print(f"\nPredicted peak of ours: {ours['predicted_mib']:.0f} MiB, "
          f"{100 * (ours['predicted_mib'] / ours['peak_rss_mib'] - 1):+.1f}% of what was measured.")
PYTHON
