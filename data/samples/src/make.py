"""Writes the bundled samples from the readable sources beside this script. camoscio.json, stambecco.json, fauno.json and
evalita_*.jsonl are their own source.

    pip install pyarrow==26.0.1
    python data/samples/src/make.py              # all of them
    python data/samples/src/make.py NAME ...     # only these
    python data/samples/src/make.py --check      # none, but tell which are not what their sources say

A line of *.jsonl is one row, shortened: `turns` stands for user and assistant in turn, `prompt` and `chosen` for
the conversation they make. `case` and `expect` mark a planted case; they go to expected/, never into a sample.
The same sources and the same pyarrow give the same bytes.
"""

import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple

from pages import clean_expected, clean_rows, culturax_expected, culturax_rows, raw_expected, raw_rows

SRC = Path(__file__).resolve().parent
OUT = SRC.parent
NOTES = ("case", "expect")


def read(name):
    return [json.loads(line) for line in (SRC / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def merged_orca():
    """As in Chat-Error/wizard_alpaca_dolly_orca: rows of the three sets in one file, some with role tokens. Every
    planted case and every second of the other rows; every third of those gets tokens."""
    merged, plain = [], 0
    for row in (r for name in ("wizardlm_orca", "alpaca_orca", "dolly_orca") for r in read(name)):
        if "case" not in row:
            plain += 1
            if plain % 2:
                continue
            if plain % 6 == 0:
                row |= {
                    "instruction": f"<<human>>: {row['instruction']}",
                    "output": f"<<assistant>>: {row['output']}",
                    "case": "both tokens, as the merged set carries them",
                    "expect": "strip_role_tokens",
                }
        merged.append(row)
    return merged


# From a source row to a row of the published schema.


def systems():
    return json.loads((SRC / "orca_systems.json").read_text(encoding="utf-8"))


def orca(row, _):
    """`repeat` says how often the output is written in a row."""
    if "repeat" in row:
        row = row | {"output": (row["output"] * row["repeat"]).strip()}
    return {"system": systems()[row["system"]], **{k: row[k] for k in ("instruction", "input", "output") if k in row}}


def orca_with_input(row, index):
    row = orca(row, index)
    return {"system": row["system"], "instruction": row["instruction"], "input": row.get("input", ""), "output": row["output"]}


def dolly(row, _):
    return {k: v for k, v in row.items() if k not in NOTES}


def turns(row):
    """The conversation of a row: `messages` as they stand, or user and assistant in turn after an optional system."""
    if "messages" in row:
        return row["messages"]
    system = [{"content": row["system"], "role": "system"}] if "system" in row else []
    return system + [{"content": t, "role": ("user", "assistant")[i % 2]} for i, t in enumerate(row["turns"])]


def side(row, name):
    """One answer with the turns before it."""
    if f"{name}_messages" in row:
        return row[f"{name}_messages"]
    return turns({"turns": [*row.get("turns", [row.get("prompt")]), row[name]]})


def orpo_v1_0(row, _):
    return {
        "source": row["source"],
        "chosen": side(row, "chosen"),
        "rejected": side(row, "rejected"),
        "prompt": row["turns"][0] if "turns" in row else row["prompt"],
    }


def orpo(row, index):
    """`question` repeats the prompt for the components that come with one and is null for the rest."""
    row = orpo_v1_0(row, index)
    chatty = ("argilla/Capybara-Preferences", "argilla/ultrafeedback-binarized-preferences-cleaned")
    return row | {"question": None if row["source"] in chatty else row["prompt"]}


def prompt_id(prompt):
    return hashlib.sha256(prompt.encode()).hexdigest()


def ultrafeedback(row, _):
    chosen = side(row, "chosen")
    return {
        "prompt": row["prompt"],
        "prompt_id": prompt_id(row["prompt"]),
        "chosen": chosen,
        "rejected": side(row, "rejected"),
        "messages": chosen,
        "score_chosen": row["scores"][0],
        "score_rejected": row["scores"][1],
    }


def ultrachat(row, _):
    messages = turns(row)
    prompt = messages[0]["content"]
    return {"prompt": prompt, "prompt_id": prompt_id(prompt), "messages": messages}


def kto(row, _):
    return {"messages": [{"role": m["role"], "content": m["content"]} for m in turns(row)], "label": row["label"]}


def sharegpt(row, index):
    speaker = {"user": "human", "assistant": "gpt", "system": "system"}
    said = [{"from": speaker[m["role"]], "value": m["content"]} for m in turns(row)]
    return {"id": f"{prompt_id(str(index))[:7]}_0", "conversations": said}


def as_it_is(row, _):
    return row


# Writers.


def write_json_array(name, rows):
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (OUT / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def write_jsonl(name, rows):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (OUT / name).write_text(lines, encoding="utf-8")


def write_json_gz(name, rows):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with open(OUT / name, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(lines.encode())


def write_parquet(name, table, row_groups):
    import pyarrow.parquet as pq

    pq.write_table(table, OUT / name, compression="zstd", row_group_size=-(-table.num_rows // row_groups))


def parquet(columns):
    """A writer for a table with these columns, `{name: type}`: "string", "large_string", "double", "turns" (a list of
    {content, role}) or "large_turns" (a large list of {role, content}, large strings)."""

    def write(name, rows):
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "large_string": pa.large_string(),
            "double": pa.float64(),
            "turns": pa.list_(pa.struct({"content": pa.string(), "role": pa.string()})),
            "large_turns": pa.large_list(pa.struct({"role": pa.large_string(), "content": pa.large_string()})),
        }
        schema = pa.schema([(column, types[kind]) for column, kind in columns.items()])
        write_parquet(name, pa.Table.from_pylist(rows, schema), row_groups=2)

    return write


class Sample(NamedTuple):
    source: Callable[[], list]
    shape: Callable[[dict, int], dict]
    write: Callable[[str, list], None]


SAMPLES = {
    "wizardlm_orca.json": Sample(lambda: read("wizardlm_orca"), orca, write_json_array),
    "alpaca_orca.json": Sample(lambda: read("alpaca_orca"), orca_with_input, write_json_array),
    "dolly_orca.json": Sample(lambda: read("dolly_orca"), orca_with_input, write_json_array),
    "wizard_alpaca_dolly_orca.parquet": Sample(
        merged_orca, orca_with_input, parquet(dict.fromkeys(("system", "instruction", "input", "output"), "string"))
    ),
    "orpo_dpo_mix_40k.parquet": Sample(
        lambda: read("orpo_dpo_mix_40k"),
        orpo,
        parquet({"source": "string", "chosen": "turns", "rejected": "turns", "prompt": "string", "question": "string"}),
    ),
    "orpo_dpo_mix_40k_v1_0.parquet": Sample(
        lambda: read("orpo_dpo_mix_40k")[::4],
        orpo_v1_0,
        parquet({"source": "large_string", "chosen": "large_turns", "rejected": "large_turns", "prompt": "large_string"}),
    ),
    "ultrafeedback_binarized.parquet": Sample(
        lambda: read("ultrafeedback_binarized"),
        ultrafeedback,
        parquet(
            {"prompt": "string", "prompt_id": "string", "chosen": "turns", "rejected": "turns", "messages": "turns"}
            | {"score_chosen": "double", "score_rejected": "double"}
        ),
    ),
    "ultrachat_200k.parquet": Sample(
        lambda: read("ultrachat_200k"),
        ultrachat,
        parquet({"prompt": "string", "prompt_id": "string", "messages": "turns"}),
    ),
    "databricks_dolly_15k.jsonl": Sample(lambda: read("databricks_dolly_15k"), dolly, write_jsonl),
    "clean_mc4_it.json.gz": Sample(clean_rows, as_it_is, write_json_gz),
    "mc4_raw_it.parquet": Sample(raw_rows, as_it_is, parquet(dict.fromkeys(("url", "text", "timestamp"), "string"))),
    "culturax_it.parquet": Sample(
        lambda: culturax_rows("it"), as_it_is, parquet(dict.fromkeys(("text", "timestamp", "url", "source"), "string"))
    ),
    "culturax_en.parquet": Sample(
        lambda: culturax_rows("en"), as_it_is, parquet(dict.fromkeys(("text", "timestamp", "url", "source"), "string"))
    ),
    "kto.jsonl": Sample(lambda: read("kto"), kto, write_jsonl),
    "sharegpt.json": Sample(lambda: read("sharegpt"), sharegpt, write_json_array),
}


def sample(name):
    """Writes the sample called `name`."""
    source, shape, write = SAMPLES[name]
    write(name, [shape(row, index) for index, row in enumerate(source())])


def expected(name):
    """Writes what becomes of the planted rows: `expect` is `keep` or the rule that must act, `index` counts from 0."""
    write_jsonl(
        name,
        [
            {"file": file, "index": index, "expect": row["expect"], "case": row["case"]}
            for file, (source, _, _) in SAMPLES.items()
            for index, row in enumerate(source())
            if "case" in row
        ],
    )


WRITERS = dict.fromkeys(SAMPLES, sample) | {
    "expected/chats.jsonl": expected,
    "expected/mc4_raw_it.jsonl": lambda name: write_jsonl(name, raw_expected()),
    "expected/culturax.jsonl": lambda name: write_jsonl(name, culturax_expected()),
    "expected/clean_mc4_it.jsonl": lambda name: write_jsonl(name, clean_expected()),
}


def check():
    """Writes everything elsewhere and compares."""
    global OUT
    kept = OUT
    with tempfile.TemporaryDirectory() as folder:
        OUT = Path(folder)
        (OUT / "expected").mkdir()
        for name, write in WRITERS.items():
            write(name)
        stale = [name for name in WRITERS if (OUT / name).read_bytes() != (kept / name).read_bytes()]
    if stale:
        sys.exit(f"not what src/ says: {', '.join(stale)}; run data/samples/src/make.py")


def main(names):
    if names == ["--check"]:
        return check()
    unknown = [name for name in names if name not in WRITERS]
    if unknown:
        sys.exit(f"unknown sample {', '.join(unknown)}; there are: {', '.join(WRITERS)}")
    for name in names or WRITERS:
        WRITERS[name](name)


if __name__ == "__main__":
    main(sys.argv[1:])
