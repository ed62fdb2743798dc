#!/usr/bin/env bash
# Build the emulator into the folder OUT: `build.sh OUT`. OUT/lib then stands in for CUDA's libraries:
#     LD_LIBRARY_PATH=OUT/lib PROGRAM
# Kernels are compiled as they are, but for the two lines that g++ has no words for: `extern __shared__`, and mma.cuh.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
kernels="$here/../src/kernels"
out="${1:?the folder to build in}"
rm -rf "$out"
mkdir -p "$out/src" "$out/lib"
out="$(cd "$out" && pwd)"
cxx="${CXX:-g++}"
# -ffp-contract=off: what nvcc fuses is written as fmaf in the kernels where it matters.
flags=(-std=c++17 -O2 -march=native -ffp-contract=off -fPIC -I "$out/src" -I "$here")

cp "$kernels"/*.cuh "$kernels"/*/*.cuh "$out/src/"
cp "$here/mma.cuh" "$out/src/"
for kernel in "$kernels"/*/*.cu; do
    name="$(basename "$kernel" .cu)"
    source="$out/src/$name.cc"
    {
        echo '#include "device.h"'
        sed -E 's/extern __shared__ ([a-z0-9]+) ([a-z]+)\[\];/\1* \2 = static_cast<\1*>(launch_memory());/' "$kernel"
    } >"$source"
    # Each kernel under its name: the preprocessor knows which there are.
    "$cxx" "${flags[@]}" -E -P "$source" | grep -oE 'extern "C" +void +[a-z0-9_]+\(' | grep -oE '[a-z0-9_]+\($' | tr -d '(' | sort -u |
        sed 's/.*/static Kernel kernel_&("&", \&&);/' >"$out/src/$name.names"
    [ -s "$out/src/$name.names" ] || { echo "$kernel has no kernels" >&2; exit 1; }
    cat "$out/src/$name.names" >>"$source"
    "$cxx" "${flags[@]}" -w -c "$source" -o "$out/src/$name.o"
done
for part in fibers driver cublas runtime; do
    "$cxx" "${flags[@]}" -Wall -Wextra -c "$here/$part.cc" -o "$out/src/$part.o"
done
cd "$out/src"
# library NAME OBJECT...: programs ask for symbols of a version that is called like the library, but for the driver's.
library() {
    local name="$1"
    shift
    echo "$name { global: cu*; __cuda*; };" >versions
    "$cxx" -shared -Wl,-soname,"$name" -Wl,--version-script=versions -o "../lib/$name" "$@"
}
library libcublas.so.13 cublas.o
library libcudart.so.13 runtime.o
library libcurand.so.10 runtime.o
rm cublas.o runtime.o
"$cxx" -shared -Wl,-soname,libcuda.so.1 -o ../lib/libcuda.so.1 *.o
