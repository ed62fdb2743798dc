# The map of the flow: sources in, data sets out. A recipe takes plain arguments after its name, as in
# `just build-sft-mix hub` or `just build-sft-mix ~/data --limit 1000`: first where the rows come from
# (samples, hub or a folder), then whatever `setaccio build --help` lists.

set positional-arguments

setaccio := "cargo run --release --quiet --"

# list the recipes, in the order of the flow
[default]
_list:
    @just --list --unsorted

# install the full LDNOOBW word lists from an unpacked `naughty-words` npm package, or from LDNOOBW itself
[group('1 prepare')]
install-lists path:
    @{{ setaccio }} lists install "$1"

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
build-sft-mix from='samples' *args: (_build "sft-mix" from args)

# preference pairs: orpo-dpo-mix-40k without toxic-dpo
[group('3 curate')]
build-dpo-mix from='samples' *args: (_build "dpo-mix" from args)

# Italian web text for adaptation: 100k documents of clean_mc4_it
[group('3 curate')]
build-adapt-it from='samples' *args: (_build "adapt-it" from args)

# raw Italian web text through the eleven rules of clean_mc4_it
[group('3 curate')]
build-clean-web from='samples' *args: (_build "clean-web-it" from args)

# Italian instructions: Camoscio, Stambecco, Fauno
[group('3 curate')]
build-it-instruct from='samples' *args: (_build "it-instruct" from args)

# chats: UltraChat 200k
[group('3 curate')]
build-ultrachat from='samples' *args: (_build "ultrachat" from args)

# instructions written by people: Dolly 15k
[group('3 curate')]
build-dolly from='samples' *args: (_build "dolly" from args)

# every data set above
[group('3 curate')]
build-all from='samples' *args: (build-sft-mix from args) (build-dpo-mix from args) (build-adapt-it from args) (build-clean-web from args) (build-it-instruct from args) (build-ultrachat from args) (build-dolly from args)

# check every hash and count of what a build wrote
[group('4 trust')]
verify name:
    @{{ setaccio }} verify "data/out/$1"

# write the card again from the ledger
[group('4 trust')]
card name:
    @{{ setaccio }} card "data/out/$1"

# the tests, as the README has them
[group('5 develop')]
test:
    cargo test --workspace

# all that CI runs, cheapest first
[group('5 develop')]
check:
    .ci/run

# rows per second and memory, ours beside datatrove and the read-and-write floor
[group('5 develop')]
bench-curate *args:
    benches/curate.sh "$@"

# precision and recall of the language rule for Italian, by length of document
[group('5 develop')]
bench-language *args:
    benches/language.sh "$@"

_build name from *args:
    @{{ setaccio }} build "pipelines/{{ name }}.toml" --from "{{ from }}" {{ args }}
