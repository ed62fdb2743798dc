#!/usr/bin/env bash
# `just bench-language [SETTING...]`: precision and recall of the language rule. First for Italian and English on short texts in 69
# languages (tools/language-rows.sh), by whatlang and by fastText's model; then for Italian by length of document over the handbook
# in ten languages (tools/bench-rows.sh), by default the whole text beside the recipe's windows.
set -euo pipefail
cd "$(dirname "$0")/.."
short="$(tools/language-rows.sh)"
judge() { gzip -dc "$short/short.jsonl.gz" | cargo run --release --quiet -p setaccio-filters --example language_short -- "$@"; }
fasttext="method = 'fasttext'; model = '$short/lid.176.ftz'"
judge it es,pt,ro,ca,la "" "$fasttext" "doubt = 0" "doubt = 0.3" "doubt = 0.7"
judge en de,nl,fr,sv,la "" "$fasttext"
real="$(tools/bench-rows.sh)"
[ $# -gt 0 ] || set -- "mode = 'whole'" ""
gzip -dc "$real/handbook.jsonl.gz" | cargo run --release --quiet -p setaccio-filters --example language -- it "$@"
