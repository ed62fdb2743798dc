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

# The program: what SETACCIO names, or a release build.
program() {
    if [ -z "${SETACCIO:-}" ]; then
        cargo build --release --quiet
        SETACCIO="${CARGO_TARGET_DIR:-target}/release/setaccio"
    fi
    setaccio="$SETACCIO"
}
# What figures come from: the line under which a table stands.
machine() { echo "$(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -u +%F), commit $(git rev-parse --short HEAD)"; }
