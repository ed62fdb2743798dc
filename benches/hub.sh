#!/usr/bin/env bash
# `just bench-hub`: a pull of 1 GB in 8 files over loopback beside curl, which neither checks a hash nor keeps a cache.
# Both ask the test Hub, eight files at a time, three rounds each, the best one told. SETACCIO_BIN names a folder with
# built `setaccio` and `test-hub`; else they are built in release mode.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${SETACCIO_BIN:-}" ]; then
    cargo build --release --quiet --workspace --bin setaccio --bin test-hub
    SETACCIO_BIN="${CARGO_TARGET_DIR:-target}/release"
fi
work="$(mktemp -d)"
trap 'exec 3>&- || true; rm -rf "$work"' EXIT
mkdir "$work/files"
for i in 1 2 3 4 5 6 7 8; do head -c 125000000 /dev/urandom >"$work/files/$i.bin"; done

mkfifo "$work/hold"
"$SETACCIO_BIN/test-hub" "datasets/lab/bench=$work/files" <"$work/hold" >"$work/said" &
exec 3>"$work/hold"
until [ -s "$work/said" ]; do sleep 0.1; done
read -r endpoint token _ <"$work/said"

cat >"$work/bench.toml" <<'TOML'
name = "bench"
title = "Bench"
about = "Bytes."
kind = "text"
[[source]]
name = "bench"
schema = "text"
repo = "lab/bench"
revision = "main"
files = ["*.bin"]
samples = "none"
license = "mit"
TOML

seconds() { local start end; start=$(date +%s%N); "$@" >/dev/null; end=$(date +%s%N); echo $(((end - start) / 1000000)); }
best() { local least=; for _ in 1 2 3; do rm -rf "$work/down"; mkdir "$work/down"; ms=$(seconds "$@"); [ -n "$least" ] && [ "$least" -le "$ms" ] || least=$ms; done; echo "$least"; }

with_curl() {
    local urls=()
    for i in 1 2 3 4 5 6 7 8; do urls+=("$endpoint/datasets/lab/bench/resolve/main/$i.bin" -o "$work/down/$i.bin"); done
    curl --silent --no-progress-meter --fail --location --parallel --parallel-max 8 -H "Authorization: Bearer $token" "${urls[@]}"
}
with_us() {
    env HF_ENDPOINT="$endpoint" HF_TOKEN="$token" HF_HOME="$work/down" "$SETACCIO_BIN/setaccio" pull "$work/bench.toml" 2>"$work/progress"
}
curl_ms=$(best with_curl)
our_ms=$(best with_us)
# What was pulled is what is there.
for i in 1 2 3 4 5 6 7 8; do cmp "$work/files/$i.bin" "$work"/down/hub/datasets--lab--bench/snapshots/*/"$i.bin"; done
echo "1 GB in 8 files: curl $curl_ms ms, setaccio pull $our_ms ms with SHA-256, $((our_ms * 100 / curl_ms))% of curl's time"
