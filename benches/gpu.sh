#!/usr/bin/env bash
# `just gpu-check [--seed N] [--only CASE,...]`: every CUDA kernel beside its reference on the CPU, on fresh random inputs, and
#   whole steps of small models (the case `step`).
# `just gpu-bench [--runs NAME,...] [--steps N] [--parts N] [--shape llama3-8b|tiny] [--device cuda|cpu] [--card h100|h200]
#   [--profile] [--json FILE] [--no-peers]`: steps of QLoRA of Llama-3-8B's shape with random weights, beside their predictions
#   and, where a Python with torch, transformers, peft and bitsandbytes is at hand (SETACCIO_PEERS, by default python3), beside
#   PyTorch on the same GPU. What is measured goes into FILE after each run, and what peers reach into FILE.peers.json.
# `benches/gpu.sh peers` puts bitsandbytes and Liger's kernels into target/gpu/site, for a GPU's machine that has torch and
#   transformers but not these.
# `just gpu-emulate [--seed N] [--only CASE,...]`: gpu-check without a GPU, every thread of a kernel as a fiber on the CPU
#   (train/emulator; x86-64 and g++).
# `just gpu-report [--check|--write]`: what ptxas makes of every kernel.
#
# Where cargo is, the program is built first, with the CUDA compiler of CUDA_HOME, of PATH, or of tools/cuda-toolkit.sh,
# and left in target/gpu. Where it is not, target/gpu/setaccio-gpu is run as it is: carry that folder and benches/ to a
# machine that has the GPU. SETACCIO_GPU_PROFILE names a cargo profile, by default release, for `gpu-emulate` dev.
set -euo pipefail
cd "$(dirname "$0")/.."
verb="${1:-}"
shift || true
program=target/gpu/setaccio-gpu
site=target/gpu/site
most=$((64 << 20)) # what a machine with a GPU takes in one piece

toolkit() {
    if [ -z "${CUDA_HOME:-}" ] && ! command -v nvcc >/dev/null; then
        local lines
        lines="$(tools/cuda-toolkit.sh)"
        eval "$lines"
    fi
}

build() {
    local profile="${SETACCIO_GPU_PROFILE:-release}"
    toolkit
    cargo build --quiet -p setaccio-train --features cuda --locked --profile "$profile" --example gpu
    mkdir -p "$(dirname "$program")"
    [ "$profile" = dev ] && profile=debug
    strip -o "$program.new" "${CARGO_TARGET_DIR:-target}/$profile/examples/gpu"
    mv "$program.new" "$program"
    local size
    size="$(stat -c %s "$program")"
    echo "$program: $((size >> 20)) MiB" >&2
    [ "$size" -le "$most" ] || { echo "$program is larger than $((most >> 20)) MiB" >&2; exit 1; }
}

# The libraries that the program asks for and the loader does not find, from where CUDA and PyTorch keep theirs.
libraries() {
    local all missing folder found="" packages
    packages="$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null || true)"
    # The driver first: where it is missing, the others say nothing.
    all="$(ldd "$program" | awk '/not found/ {print ($1 ~ /^libcuda\.so/ ? 0 : 1), $1}' | sort -u | cut -d ' ' -f 2)"
    for missing in $all; do
        for folder in ${CUDA_HOME:+"$CUDA_HOME"/lib64 "$CUDA_HOME"/lib} /usr/local/cuda*/lib64 /usr/local/nvidia/lib64 \
            /usr/local/nvidia/lib /usr/lib/wsl/lib ${packages:+"$packages"/nvidia/*/lib}; do
            [ -e "$folder/$missing" ] && found="$found:$folder" && continue 2
        done
        case "$missing" in
            libcuda.so.1) echo "no GPU: there is no NVIDIA driver (libcuda.so.1) on this machine. Carry target/gpu and benches to one that has it, and run \`benches/gpu.sh $verb\` there." >&2 ;;
            *) echo "$missing is nowhere to be found: install CUDA 13's libraries, or set CUDA_HOME or LD_LIBRARY_PATH" >&2 ;;
        esac
        exit 3
    done
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}${LD_LIBRARY_PATH:+${found:+:}}${found#:}"
}

ready() {
    if command -v cargo >/dev/null; then
        build
    elif [ ! -x "$program" ]; then
        echo "no $program: build it with \`benches/gpu.sh build\` where cargo is" >&2
        exit 1
    fi
    libraries
}

case "$verb" in
    build) build ;;
    report)
        [ $# -eq 0 ] || toolkit
        python3 benches/gpu_report.py "$@"
        ;;
    check)
        ready
        "$program" check "$@"
        ;;
    emulate)
        profile="${SETACCIO_GPU_PROFILE:-dev}"
        toolkit
        # None of candle's kernels is launched, so they need not be compiled; NVCC=nvcc compiles them too, in minutes.
        NVCC="${NVCC:-$PWD/.ci/nvcc}" cargo rustc --quiet -p setaccio-train --features cuda --locked --profile "$profile" \
            --example gpu -- -C link-arg=-Wl,--unresolved-symbols=ignore-all
        [ "$profile" = dev ] && profile=debug
        train/emulator/build.sh target/emulator
        LD_LIBRARY_PATH="$PWD/target/emulator/lib" "${CARGO_TARGET_DIR:-target}/$profile/examples/gpu" check "$@"
        ;;
    bench)
        peers=yes given=() json=""
        while [ $# -gt 0 ]; do
            case "$1" in
                --no-peers) peers=no ;;
                --json)
                    json="${2:?--json needs a file}"
                    shift
                    ;;
                *) given+=("$1") ;;
            esac
            shift
        done
        ready
        if [ -z "$json" ]; then
            out="$(mktemp -d)"
            trap 'rm -rf "$out"' EXIT
            json="$out/ours.json"
        fi
        "$program" bench "${given[@]}" --json "$json"
        python="${SETACCIO_PEERS:-python3}"
        [ ! -d "$site" ] || export PYTHONPATH="$PWD/$site${PYTHONPATH:+:$PYTHONPATH}"
        if [ "$peers" = yes ] && "$python" benches/peers/gpu_torch.py --ready "${given[@]}"; then
            "$python" benches/peers/gpu_torch.py "${given[@]}" --beside "$json" --json "${json%.json}.peers.json"
        fi
        ;;
    peers)
        rm -rf "$site"
        "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
            --requirement benches/peers/gpu-requirements.txt --target "$site" >&2
        # A library for each version of CUDA and for cards of other makers: 40 MB, of which one is loaded.
        find "$site/bitsandbytes" -name 'libbitsandbytes_*' ! -name libbitsandbytes_cuda130.so -delete
        du -sh "$site" >&2
        ;;
    *)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
        exit 1
        ;;
esac
