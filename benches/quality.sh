#!/usr/bin/env bash
# `just bench-quality [PAGES]`: processor time a byte of the rules of clean-web-it, of quality and of personal data among them, and of the
# rules of the papers, over so many pages of the stand-ins, 2,000 if nothing is said; and of datatrove's filters with the same constants
# over a tenth of them. SETACCIO_RULES names a program to take in the place of a release build of the example `rules`.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/peers/setup.sh
pages="${1:-2000}"
standins web-200 --web-mb 200
if [ -z "${SETACCIO_RULES:-}" ]; then
    cargo build --release --quiet -p setaccio-filters --example rules
    SETACCIO_RULES="${CARGO_TARGET_DIR:-target}/release/examples/rules"
fi

out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
"$python" - "$cache/web-200/mc4-it-raw/part-000.parquet" "$pages" >"$out/pages.jsonl" <<'P'
import json, sys
import pyarrow.parquet as pq

for text in pq.read_table(sys.argv[1], columns=["text"])["text"].to_pylist()[: int(sys.argv[2])]:
    print(json.dumps({"text": text}, ensure_ascii=False))
P
head -n "$((pages / 10))" "$out/pages.jsonl" >"$out/tenth.jsonl"
# The recipe's rules, with those that it leaves off.
sed '/^off = true$/d' pipelines/clean-web-it.toml >"$out/web.toml"
cat >"$out/papers.toml" <<'T'
[[filter]]
rule = "gopher_repetition"
[[filter]]
rule = "gopher_quality"
lists = [{ name = "stop-words-it", sha256 = "2d34c2a2e45f67e2f4b1f5764746b09a7d4d3dd10b4c543b97704a19be35c4de" }]
stop_words = []
[[filter]]
rule = "fineweb"
[[filter]]
rule = "redpajama"
T
table() { "$SETACCIO_RULES" "$1" filters/lists <"$2"; }

machine
echo
echo "clean-web-it, $pages pages; \"all\" runs the rules one after the other over what is left:"
echo
table "$out/web.toml" "$out/pages.jsonl"
echo
echo "rules of the papers, the same pages:"
echo
table "$out/papers.toml" "$out/pages.jsonl"
echo
echo "beside datatrove, $((pages / 10)) of the pages:"
echo
table "$out/web.toml" "$out/tenth.jsonl" | grep -v 'clean_mc4_it\|| all'
"$python" benches/peers/datatrove_quality.py filters/lists <"$out/tenth.jsonl"
