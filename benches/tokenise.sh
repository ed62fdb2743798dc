#!/usr/bin/env bash
# `just bench-tokenise [--rows 1000000] [--model PATH] [--threads 2] [--keep FOLDER]`: how fast chats become tokens before training,
# for each hundred thousand rows, how much memory that takes, and that a run that was killed goes on where it was.
# The rows are made here, chats of two or four turns of made-up words in JSON lines; `setaccio train ROWS --plan` builds and
# tokenises them with the tokenizer and template of PATH: by default the model that tools/fetch-assets.sh brings.
# SETACCIO names another program than the release build. --keep leaves rows and builds in FOLDER, and uses what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${SETACCIO:-}" ]; then
    cargo build --release --quiet --features train
    SETACCIO="${CARGO_TARGET_DIR:-target}/release/setaccio"
fi
export SETACCIO
echo "$(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -u +%F), commit $(git rev-parse --short HEAD), load $(cut -d' ' -f1 /proc/loadavg)"
echo
exec "${PYTHON:-python3}" benches/peers/tokenise.py "$@"
