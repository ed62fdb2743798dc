#!/usr/bin/env bash
# `just bench-language [SETTING...]`: precision and recall of the language rule for Italian, by length of document,
# over the handbook in ten languages that tools/bench-rows.sh fetches; by default the whole text beside the recipe's windows.
set -euo pipefail
cd "$(dirname "$0")/.."
real="$(tools/bench-rows.sh)"
[ $# -gt 0 ] || set -- "mode = 'whole'" ""
gzip -dc "$real/handbook.jsonl.gz" | cargo run --release --quiet -p setaccio-filters --example language -- it "$@"
