# Sourced by the benches of the curate half, from the repository's root: real rows, the peers' Python, and stand-ins, which are made once.
cache="${SETACCIO_BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/setaccio-bench}"
real="$(tools/bench-rows.sh)"

python="$cache/venv/bin/python"
if ! cmp -s benches/peers/requirements.txt "$cache/venv/requirements.txt"; then
    python3 -m venv "$cache/venv"
    "$python" -m pip install --quiet -r benches/peers/requirements.txt
    cp benches/peers/requirements.txt "$cache/venv/requirements.txt"
fi
standins() { [ -d "$cache/$1" ] || "$python" benches/peers/standins.py "$cache/$1" --real "$real" "${@:2}"; }
