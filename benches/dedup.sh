#!/usr/bin/env bash
# `just bench-dedup [quick]`: processor seconds and memory of near-duplicates, and of repeats inside texts, over web text, in one run on
# the same files: a build that does nothing else, with and without `[dedup.near]` or `[dedup.repeats]`, datatrove's four steps, and
# rensa. `quick` leaves out datatrove, and `scale` builds ten times as much beside it, ours alone. Stand-ins as for `just bench-curate`, in which pages share many paragraphs.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/peers/setup.sh
standins web-200 --web-mb 200
cargo build --release --quiet
setaccio="${CARGO_TARGET_DIR:-target}/release/setaccio"

out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
recipe() {
    printf 'name = "near"\ntitle = "Near-duplicates"\nabout = "A benchmark."\nkind = "text"\n[[source]]\nname = "web"\nschema = "text"\n'
    printf 'path = "%s"\nlicense = "unknown"\n[dedup]\n%s' "$1/mc4-it-raw/*.parquet" "$2"
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

echo "$(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -u +%F), commit $(git rev-parse --short HEAD)"
for size in web-200 $([ "${1:-}" = scale ] && echo web-2000); do
    standins "$size" --web-mb "${size#web-}"
    recipe "$cache/$size" '' >"$out/exact.toml"
    recipe "$cache/$size" '[dedup.near]
' >"$out/near.toml"
    recipe "$cache/$size" '[dedup.repeats]
' >"$out/lines.toml"
    recipe "$cache/$size" '[dedup.repeats]
unit = "sentences"
' >"$out/sentences.toml"
    echo
    echo "${size#web-} MB of web text, one thread:"
    echo
    echo "| | CPU seconds | seconds | peak MB | rows kept |"
    echo "|---|---:|---:|---:|---:|"
    measure "setaccio, without near-duplicates" ours bash -c 'build "$@"' - "$out/exact.toml"
    measure "setaccio, with" ours bash -c 'build "$@"' - "$out/near.toml"
    measure "setaccio, lines that pages repeat" ours bash -c 'build "$@"' - "$out/lines.toml"
    measure "setaccio, spans of three sentences" ours bash -c 'build "$@"' - "$out/sentences.toml"
    [ "$size" = web-200 ] || continue
    measure "rensa 0.5 (R-MinHash)" theirs "$python" benches/peers/minhash.py rensa "$cache/web-200/mc4-it-raw" "$out/rensa"
    if [ "${1:-}" != quick ]; then
        measure "datatrove, four steps, 1 worker" theirs "$python" benches/peers/minhash.py datatrove "$cache/web-200/mc4-it-raw" "$out/datatrove"
    fi
done
