#!/usr/bin/env bash
# `just bench-serve [PROMPT [NEW]]`: SmolLM2-135M in f32 on this machine: time to the first token of a prompt (512 tokens) and tokens a second
# after it (64), of the server, transformers and llama.cpp, one after the other with the same number of threads; then the server's tokens
# a second with 1, 8 and 32 clients. Needs a virtual environment with the packages of tests/oracles/requirements.txt and xllamacpp (as in
# tests/python/requirements.txt) in SETACCIO_ORACLES or ~/.cache/setaccio-oracles.
# SETACCIO names a program to take in the place of a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}"
model="$(tools/fetch-assets.sh)/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
python="${SETACCIO_ORACLES:-$cache/setaccio-oracles}/bin/python"
if [ -z "${SETACCIO:-}" ]; then
    cargo build --release --quiet --features serve
    SETACCIO="${CARGO_TARGET_DIR:-target}/release/setaccio"
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
# Weights of 4 bits would be another model for each of them: all load the same ones in f32.
"$SETACCIO" export "$model" --quant f32 --out "$out/smollm2-f32.gguf" >/dev/null 2>&1

echo "$(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -u +%F), commit $(git rev-parse --short HEAD)"
"$python" benches/peers/serve.py "$SETACCIO" "$out/smollm2-f32.gguf" "${1:-512}" "${2:-64}"
