#!/usr/bin/env bash
# Runs the tests that `cargo test` ignores because they need what the repository does not hold (a Python with
# huggingface_hub at SETACCIO_PYTHON, real models in SETACCIO_ASSETS, root), and fails unless exactly those of
# tests/expected-ignored.txt ran. Tests of a GPU and long ones (soak_) have commands of their own: `just gpu-check`
# and `just soak`.
set -euo pipefail
cd "$(dirname "$0")/.."

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
cargo test --workspace --features train --locked -- --ignored --skip soak_ "$@" | tee "$log"
expected="$(grep -v '^#' tests/expected-ignored.txt | sort)"
ran="$(sed -n 's/^test \([^ ]*\) \.\.\. ok$/\1/p' "$log" | sort)"
if ! diff <(echo "$expected") <(echo "$ran"); then
    echo "tests/expected-ignored.txt (<) is not what ran (>)"
    exit 1
fi
echo "$(wc -l <<<"$ran") tests that are ignored elsewhere ran here"
