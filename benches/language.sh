#!/usr/bin/env bash
# `just bench-language [SETTING...]`: precision and recall of the language rule for Italian, by length of document,
# over the manual pages of ../shared/data in ten languages; by default the whole text beside the recipe's windows.
set -euo pipefail
cd "$(dirname "$0")/.."
shared="${SETACCIO_SHARED:-../shared/data}"
[ -d "$shared" ] || { echo "no $shared: name the folder of real rows with SETACCIO_SHARED" >&2; exit 1; }
[ $# -gt 0 ] || set -- "mode = 'whole'" ""
gzip -dc "$shared/handbook.json.gz" | cargo run --release --quiet -p setaccio-filters --example language -- it "$@"
