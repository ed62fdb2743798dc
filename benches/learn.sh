#!/usr/bin/env bash
# `just bench-learn [steps]`: whether SmolLM2-135M learns what it is taught. Preferences: DPO on 164 of 200 pairs,
# how often the chosen answer of held-out pairs comes out ahead. Italian: sentences and pages of a handbook, by an adapter and
# by training every weight; perplexity on held-out Italian, and on English web pages beside it, before and after.
# tools/fetch-assets.sh and tools/bench-rows.sh bring model and rows; SETACCIO_SENTENCES names other Italian sentences.
# About half an hour on 2 cores. SETACCIO names a built program to use instead of a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
steps="${1:-40}"
model="$(tools/fetch-assets.sh)/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
real="$(tools/bench-rows.sh)"
if [ -z "${SETACCIO:-}" ]; then
    cargo build --release --quiet --features train
    SETACCIO="${CARGO_TARGET_DIR:-target}/release/setaccio"
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

# Rows in the layouts that the schemas know, and a recipe for each.
python3 - "$real" "$out" <<'PYTHON'
import gzip
import json
import sys
from pathlib import Path

real, out = map(Path, sys.argv[1:])


def rows(name, kind, lines, held_back):
    (out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (out / f"{name}.toml").write_text(
        f'name = "{name}"\ntitle = "{name}"\nabout = "{name}"\nkind = "{kind}"\n[[source]]\nname = "{name}"\nschema = "{kind}"\n'
        f'repo = "local/{name}"\nrevision = "main"\nfiles = ["{name}.jsonl"]\nsamples = "{name}.jsonl"\nlicense = "other"\n'
        f"[split]\nvalidation = {held_back}\n"
    )


role = {"human": "user", "gpt": "assistant", "system": "system"}
pairs = []
for row in json.loads((real / "preference.json").read_text()):
    asked = [{"role": role[turn["from"]], "content": turn["value"]} for turn in row["conversations"]]
    answers = {k: asked + [{"role": "assistant", "content": row[k]["value"]}] for k in ("chosen", "rejected")}
    pairs.append({"prompt": asked[-1]["content"], **answers})
rows("pairs", "preference", pairs, 0.2)
sentences = [line.strip() for line in (real / "sentences.txt").read_text().splitlines() if line.strip()]
italian = [{"text": " ".join(sentences[i : i + 12])} for i in range(0, len(sentences), 12)]
with gzip.open(real / "handbook.jsonl.gz", "rt") as pages:
    italian += [{"text": page["text"]} for page in map(json.loads, pages) if page["lang"] == "it"]
rows("it", "text", italian, 0.1)
english = [{"text": json.loads(line)["text"]} for line in (real / "english.jsonl").read_text().splitlines()]
rows("en", "text", english, 0.3)
PYTHON
for name in pairs it en; do "$SETACCIO" build "$out/$name.toml" --out "$out/data/$name" >/dev/null; done

# run NAME RECIPE DATA ARGS...
run() {
    local name="$1" recipe="$2" data="$3"
    shift 3
    echo "$name ..." >&2
    "$SETACCIO" train "pipelines/train/$recipe.toml" --out "$out/$name" --model "${base:-$model}" --set "data.train=[\"$out/data/$data\"]" \
        --set data.template= --set data.max_length=512 --set train.optimizer=adamw --set train.log_every=1 "$@" >/dev/null
}
# Cut to where answers differ in manner: a model of this size learns no more of 164 pairs.
run dpo dpo pairs --set lora.r=16 --set lora.rslora=false --set data.max_length=256 --set preference.max_prompt_length=96 \
    --set train.learning_rate=2e-4 --max-steps "$((3 * steps))" --set eval.every=20
adapter=(--set lora.alpha=32 --set train.batch=2 --set eval.rows=24)
run italian adapt it "${adapter[@]}" --set train.learning_rate=5e-4 --max-steps "$steps"
run whole adapt-full it --set train.batch=2 --set eval.rows=24 --set train.learning_rate=5e-5 --max-steps "$steps"
# One step at rate 0: what counts is the evaluation before it.
english=("${adapter[@]}" --set train.learning_rate=0.0 --max-steps 1)
run before adapt en "${english[@]}"
run after adapt en "${english[@]}" --set "lora.adapter=$out/italian/adapter"
base="$out/whole/model" run after-whole adapt en "${english[@]}"

python3 - "$out" "$steps" <<'PYTHON'
import json
import math
import sys
from pathlib import Path

out, steps = Path(sys.argv[1]), sys.argv[2]


def evals(name):
    lines = map(json.loads, (out / name / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "eval_loss" in line]


dpo = evals("dpo")
print(f"DPO, {3 * int(steps)} steps of 4 pairs; held-out pairs:\n\n| step | loss | chosen ahead | margin |\n|---:|---:|---:|---:|")
for line in dpo:
    ahead, margin = line["eval_rewards/accuracies"], line["eval_rewards/margins"]
    print(f"| {line['step']} | {line['eval_loss']:.4f} | {100 * ahead:.0f}% | {margin:.3f} |")
italian = [math.exp(evals(name)[i]["eval_loss"]) for name, i in (("italian", 0), ("italian", -1), ("whole", -1))]
english = [math.exp(evals(name)[0]["eval_loss"]) for name in ("before", "after", "after-whole")]
print(f"\nItalian, {steps} steps of 2 x 512 tokens; perplexity on held-out rows:")
print("\n| | before | adapter, rank 16 | every weight |\n|---|---:|---:|---:|")
for language, values in (("Italian", italian), ("English", english)):
    print(f"| {language} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
PYTHON
