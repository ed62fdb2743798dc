#!/usr/bin/env bash
# `just bench-curate [quick]`: rows per second and memory of the curate half, in one run on the same files:
# ours with 1 and 2 threads, datatrove, and the floor of reading and writing. `quick` leaves out the 2 GB run.
# Stand-ins are made of the rows that tools/bench-rows.sh fetches, and kept in ~/.cache/setaccio-bench.
# SETACCIO names a program to take in the place of a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/peers/setup.sh
standins web-200 --web-mb 200
standins rows-100k --rows 100000
program

out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
rows() { "$python" -c 'import json,sys; print(json.load(open(sys.argv[1]))["stages"][0]["rows_in"])' "$1/ledger.json"; }

# time_of NAME ROWS COMMAND...: one line of the table: seconds, rows a second, peak memory of the largest process.
time_of() {
    local name="$1" rows="$2"
    shift 2
    /usr/bin/env time -f '%e %M' -o "$out/time" "$@" >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
    read -r seconds kilobytes <"$out/time"
    awk -v n="$name" -v r="$rows" -v s="$seconds" -v k="$kilobytes" \
        'BEGIN { printf "| %s | %.2f | %d | %d |\n", n, s, r / s, k / 1024 }'
}

# The same word lists as the peer's: LDNOOBW, Italian and English.
export SETACCIO_LISTS="$cache/lists"
named="$("$setaccio" lists install "$real/words" | grep -o '{ name.*}' | paste -sd,)"
lists="filter.clean_mc4_it.bad_words.lists=[$named]"

build() { rm -rf "$out/ours"; "$setaccio" build "$@" --out "$out/ours"; }
# Without near-duplicates and repeats, which the peer does not look for here: `just bench-dedup` measures those.
sed '/^\[dedup.near\]/,/^$/d; /^\[dedup.repeats\]/,/^$/d' pipelines/clean-web-it.toml >"$out/clean-web-it.toml"
# Nor does it mask personal data.
web() { build "$out/clean-web-it.toml" --set "$lists" --set filter.personal_data.off=true "$@"; }
export -f build web
export out setaccio lists

machine
echo
web --from "$cache/web-200" >"$out/first" 2>&1
web="$(rows "$out/ours")"
echo "clean-web-it, 200 MB of web text, $web rows:"
echo
echo "| | seconds | rows/s | peak MB |"
echo "|---|---:|---:|---:|"
time_of "setaccio, 1 thread" "$web" bash -c 'web "$@"' - --from "$cache/web-200" --jobs 1
time_of "setaccio, 2 threads" "$web" bash -c 'web "$@"' - --from "$cache/web-200" --jobs 2
time_of "datatrove, 2 workers" "$web" "$python" benches/peers/datatrove_clean_web.py \
    "$cache/web-200/mc4-it-raw" "$out/datatrove" --workers 2 --lists "$real/words"
time_of "floor (pyarrow, read + zstd write)" "$web" "$python" benches/peers/floor.py "$cache/web-200/mc4-it-raw" "$out/floor"
echo
echo "the other recipes, 2 threads, 100,000 rows:"
echo
echo "| | seconds | rows/s | peak MB |"
echo "|---|---:|---:|---:|"
for recipe in sft-mix dpo-mix adapt-it; do
    time_of "$recipe" 100000 bash -c 'build "$@"' - "pipelines/$recipe.toml" --from "$cache/rows-100k" --jobs 2
done
if [ "${1:-}" != quick ]; then
    standins web-2000 --web-mb 2000
    echo
    echo "clean-web-it, 2 GB of web text, 2 threads:"
    echo
    echo "| | seconds | rows/s | peak MB |"
    echo "|---|---:|---:|---:|"
    time_of "setaccio, 2 GB" "$((web * 10))" bash -c 'web "$@"' - --from "$cache/web-2000" --jobs 2
fi
