#!/usr/bin/env bash
# The CUDA compiler of tools/cuda-toolkit.txt, for a machine that has neither CUDA nor a GPU nor root:
#
#     eval "$(tools/cuda-toolkit.sh [FOLDER])"     FOLDER is ~/.cache/setaccio-cuda-13.0 by default; about 1 GB
#
# Fetches it once, then prints the variables that cargo, nvcc and the linker read. It builds programs; to run one, the
# machine needs NVIDIA's driver and the libraries of CUDA 13.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
folder="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/setaccio-cuda-13.0}"
mkdir -p "$(dirname "$folder")"
folder="$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")"

install() {
    local new="$folder.new" cuda library file
    rm -rf "$new"
    "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
        --require-hashes --requirement "$here/cuda-toolkit.txt" --target "$new" >&2
    cuda="$new/nvidia/cu13"
    # The wheels have libcublas.so.13 alone, and the linker looks for libcublas.so.
    for library in cudart cublas cublasLt curand nvrtc; do
        file="$(find "$cuda/lib" -name "lib$library.so.*" ! -name '*alt*' -printf '%f\n')"
        ln -s "$file" "$cuda/lib/lib$library.so"
    done
    ln -s lib "$cuda/lib64"
    # libcuda.so comes with a driver. To link without one, a library will do in which every name of the driver's headers
    # is a symbol; that some are types and not functions does no harm.
    mkdir "$cuda/lib/stubs"
    {
        grep -ohE '\bcu[A-Z][A-Za-z0-9_]*' "$cuda/include/cuda.h"
        printf 'cuProfiler%s\n' Initialize Start Stop
    } | sort -u | awk 'BEGIN { print ".text" } { printf ".globl %s\n.type %s, %%function\n%s:\n", $1, $1, $1 } END { print ".byte 0" }' |
        "${CC:-gcc}" -shared -nostdlib -x assembler - -Wl,-soname,libcuda.so.1 -o "$cuda/lib/stubs/libcuda.so"
    rm -rf "$folder"
    mv "$new" "$folder"
}

# Whole, and of the versions that are asked for now: what is recorded last says so.
if ! cmp -s "$here/cuda-toolkit.txt" "$folder/installed.txt"; then
    install
    cp "$here/cuda-toolkit.txt" "$folder/installed.txt"
fi

cuda="$folder/nvidia/cu13"
echo "export CUDA_HOME='$cuda' CUDA_PATH='$cuda' CUDA_ROOT='$cuda'"
echo "export PATH='$cuda/bin':\"\$PATH\" LIBRARY_PATH='$cuda/lib:$cuda/lib/stubs'\"\${LIBRARY_PATH:+:\$LIBRARY_PATH}\""
# What cannot be found out where there is no GPU: the capability to compile candle's kernels for, and the host's compiler.
echo "export CUDA_COMPUTE_CAP=\"\${CUDA_COMPUTE_CAP:-90}\" NVCC_CCBIN=\"\${NVCC_CCBIN:-$(command -v g++)}\""
