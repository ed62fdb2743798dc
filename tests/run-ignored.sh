#!/usr/bin/env bash
# Runs the tests that `cargo test` ignores because they need what the repository does not hold (a Python with
# huggingface_hub at SETACCIO_PYTHON, real models in SETACCIO_ASSETS, root). tests/expected-ignored.txt says which those
# are, and where every other ignored test runs; a test that it does not name fails this, and so does one that is gone.
#
#     tests/run-ignored.sh [NAME ...]     only those whose name holds a NAME
set -euo pipefail
cd "$(dirname "$0")/.."

known() { sed -nE "s/^($1) +//p" tests/expected-ignored.txt | sort; }
ignored() { cargo test --workspace --features serve,onnx,store,query --locked -- --ignored "$@"; }

there="$(
    ignored --list | sed -n 's/: test$//p'
    # Compiled for a GPU only.
    sed -n '/^each!(/,/^);/s/^    \([a-z0-9_]*\),\{0,1\}$/\1/p' train/tests/gpu.rs
)"
if ! diff <(known 'here|soak|oracle|gpu') <(sort <<<"$there"); then
    echo "tests/expected-ignored.txt (<) is not what is ignored (>)"
    exit 1
fi

asked="$(known here | grep -F "$(printf '%s\n' "$@")")" || { echo "tests/expected-ignored.txt has no such test to run here"; exit 1; }
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
mapfile -t names <<<"$asked"
ignored --exact "${names[@]}" | tee "$log"
ran="$(sed -n 's/^test \([^ ]*\) \.\.\. ok$/\1/p' "$log" | sort)"
if ! diff <(echo "$asked") <(echo "$ran"); then
    echo "what was asked for (<) is not what ran (>)"
    exit 1
fi
echo "${#names[@]} tests that are ignored elsewhere ran here"
