#!/usr/bin/env bash
# Mutates the seeds of one of fuzz/fuzz_targets for ten minutes, or as libFuzzer's options say:
#
#     tools/fuzz.sh jsonl -max_total_time=60
#
# It needs cargo-fuzz (`cargo install cargo-fuzz`). The pinned toolchain is used as it is: coverage needs no nightly one,
# AddressSanitizer would, and there is next to no unsafe code to look at. What fails lies in fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

target="${1:?name one of $(basename -s .rs -a fuzz_targets/*.rs | xargs)}"
mkdir -p "corpus/$target"
RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
    -max_total_time=600 -timeout=60 -rss_limit_mb=2048 -max_len=8192 "${@:2}"
