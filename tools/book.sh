#!/usr/bin/env bash
# The book of docs/, in target/book, by the mdbook that is there, or by that of PyPI. What mdBook warns of is an error.
#
#     tools/book.sh [FOLDER]     FOLDER gets mdBook where there is none in PATH; target/mdbook unless it is given
set -euo pipefail
cd "$(dirname "$0")/.."
tool="${1:-target/mdbook}"
if ! command -v mdbook >/dev/null; then
    if ! cmp -s tools/mdbook.txt "$tool/requirements.txt"; then
        python3 -m venv --clear "$tool"
        "$tool/bin/pip" install --quiet --disable-pip-version-check -r tools/mdbook.txt
        cp tools/mdbook.txt "$tool/requirements.txt"
    fi
    PATH="$(realpath "$tool")/bin:$PATH"
fi
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
mdbook build docs 2>&1 | tee "$log"
! grep -E 'WARN|ERROR' "$log" >/dev/null
