#!/usr/bin/env bash
# `just bench-dedup [quick|scale] [MB]`: processor seconds and memory of near-duplicates, of repeats inside texts and of evaluation sets,
# over web text, in one run on the same files: a build that does nothing else, with and without `[dedup.near]`, `[dedup.repeats]` or
# `[decontamination]`, datatrove's four steps, and rensa. `quick` leaves out datatrove, `scale` builds ten times as much beside it, ours
# alone, and MB is how much text there is, 200 if nothing is said. Stand-ins as for `just bench-curate`, in which pages share many
# paragraphs. SETACCIO names a program to take in the place of a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/peers/setup.sh
mode="${1:-}"
mb="${2:-200}"
program

out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
recipe() {
    printf 'name = "near"\ntitle = "Near-duplicates"\nabout = "A benchmark."\nkind = "text"\n[[source]]\nname = "web"\nschema = "text"\n'
    printf 'path = "%s"\nlicense = "unknown"\n[dedup]\n%s\n' "$1/mc4-it-raw/*.parquet" "$2"
}

# measure NAME KEPT COMMAND...: a line of the table; KEPT prints how many rows are left, from the command's output.
measure() {
    local name="$1" kept="$2"
    shift 2
    /usr/bin/env time -f '%U %S %e %M' -o "$out/time" "$@" >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
    read -r user system wall kilobytes < <(tail -1 "$out/time")
    awk -v n="$name" -v c="$(awk "BEGIN { print $user + $system }")" -v w="$wall" -v k="$kilobytes" -v r="$($kept)" \
        'BEGIN { printf "| %s | %.1f | %.1f | %d | %s |\n", n, c, w, k / 1024, r }'
}
ours() { "$python" -c 'import json, sys; print(sum(s["rows"] for s in json.load(open(sys.argv[1]))["splits"]))' "$out/ours/ledger.json"; }
theirs() { sed -n 's/^kept //p' "$out/log"; }
build() { rm -rf "$out/ours"; "$setaccio" build "$@" --jobs 1 --out "$out/ours"; }
export -f build
export out setaccio

standins "web-$mb" --web-mb "$mb"
# As many items as MMLU, HellaSwag, ARC, GSM8K, TruthfulQA and Winogrande have, about, and as long: 2.2 million runs of 8 words. Of
# words that the pages are made of, so that only whole runs differ; 100 items are of a page.
"$python" - "$cache/web-$mb/mc4-it-raw" "$out/items.jsonl" <<'P'
import glob, json, random, sys
import pyarrow.parquet as pq

draw = random.Random(1)
pages = pq.read_table(sorted(glob.glob(f"{sys.argv[1]}/*.parquet"))[0], columns=["text"])["text"].to_pylist()[:2000]
words = [word for page in pages for word in page.split()]
with open(sys.argv[2], "w") as file:
    for number in range(30_000):
        at = draw.randrange(len(words) - 80)
        item = words[at : at + 80] if number < 100 else draw.choices(words, k=80)
        file.write(json.dumps({"question": " ".join(item)}) + "\n")
P

machine
for size in "$mb" $([ "$mode" = scale ] && echo $((mb * 10))); do
    standins "web-$size" --web-mb "$size"
    web="$cache/web-$size"
    recipe "$web" '' >"$out/exact.toml"
    recipe "$web" '[dedup.near]' >"$out/near.toml"
    recipe "$web" '[dedup.repeats]' >"$out/lines.toml"
    recipe "$web" $'[dedup.repeats]\nunit = "sentences"' >"$out/sentences.toml"
    recipe "$web" $'[dedup.repeats]\nunit = "sentences"\nspan = 64' >"$out/long.toml"
    recipe "$web" "[[decontamination.set]]
name = \"items\"
fields = \"question\"
path = \"$out/items.jsonl\"" >"$out/items.toml"
    echo
    echo "$size MB of web text, one thread:"
    echo
    echo "| | CPU seconds | seconds | peak MB | rows kept |"
    echo "|---|---:|---:|---:|---:|"
    measure "setaccio, with exact copies alone" ours bash -c 'build "$@"' - "$out/exact.toml"
    measure "setaccio, near-duplicates" ours bash -c 'build "$@"' - "$out/near.toml"
    measure "setaccio, lines that pages repeat" ours bash -c 'build "$@"' - "$out/lines.toml"
    measure "setaccio, spans of three sentences" ours bash -c 'build "$@"' - "$out/sentences.toml"
    measure "setaccio, spans of 64 sentences" ours bash -c 'build "$@"' - "$out/long.toml"
    measure "setaccio, 2.2 million runs of evaluation sets" ours bash -c 'build "$@"' - "$out/items.toml"
    [ "$size" = "$mb" ] || continue
    measure "rensa 0.5 (R-MinHash)" theirs "$python" benches/peers/minhash.py rensa "$web/mc4-it-raw" "$out/rensa"
    if [ "$mode" != quick ]; then
        measure "datatrove, four steps, 1 worker" theirs "$python" benches/peers/minhash.py datatrove "$web/mc4-it-raw" "$out/datatrove"
    fi
done
