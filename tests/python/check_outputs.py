"""Reads built data sets with the real libraries, as a trainer and the Hub would.

    python tests/python/check_outputs.py OUT ...

For each folder: `datasets.load_dataset` reads it whole and streamed; its features, splits, rows and bytes are those the
card states; `huggingface_hub` parses and validates the card; every reject has a reason. Exits 1 at the first folder
that fails, with what was expected and found.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import datasets  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from datasets.info import DatasetInfosDict  # noqa: E402
from huggingface_hub import DatasetCard  # noqa: E402

ROLES = {"system", "user", "assistant"}


def same(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def check_card(out):
    """What the card says of the data, once the fields that the Hub reads are there."""
    card = DatasetCard.load(out / "README.md")
    data = card.data.to_dict()
    info = DatasetInfosDict.from_dataset_card_data(card.data)["default"]
    for field in ("language", "license", "task_categories", "size_categories", "tags", "configs", "dataset_info"):
        if not data.get(field):
            raise AssertionError(f"the card has no {field}")
    if len(card.text) < 500:
        raise AssertionError("the card has hardly any prose")
    return info


def check_rows(name, rows):
    ids = [row["id"] for row in rows]
    same(f"{name}: distinct ids", len(set(ids)), len(ids))
    for row in rows:
        turns = [t for column in ("messages", "prompt", "chosen", "rejected") for t in row.get(column) or []]
        if not turns and not row.get("text"):
            raise AssertionError(f"{name}: row {row['id']} is empty")
        for turn in turns:
            same(f"{name}: keys of a turn", sorted(turn), ["content", "role"])
            if turn["role"] not in ROLES:
                raise AssertionError(f"{name}: role {turn['role']}")


def check(out):
    info = check_card(out)
    ledger = json.loads((out / "ledger.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as cache:
        whole = datasets.load_dataset(str(out), cache_dir=cache)
        streamed = datasets.load_dataset(str(out), cache_dir=cache, streaming=True)
        same("splits", sorted(whole), sorted(info.splits))
        for split, table in whole.items():
            same(f"{split}: features", dict(table.features), dict(info.features))
            same(f"{split}: rows", table.num_rows, info.splits[split].num_examples)
            rows = list(table)
            same(f"{split}: streamed rows", list(streamed[split]), rows)
            check_rows(split, rows)
            # The Hub's own count of a table's Arrow buffers, to within their padding.
            size = table.data.nbytes
            stated = info.splits[split].num_bytes
            if abs(stated - size) > 0.15 * size + 4096:
                raise AssertionError(f"{split}: num_bytes says {stated}, the table has {size}")
    shards = sorted((out / "data").glob("*.parquet"))
    same("download_size", sum(s.stat().st_size for s in shards), info.download_size)
    rejects = [r for f in sorted((out / "rejects").glob("*.parquet")) for r in pq.read_table(f).to_pylist()]
    for reject in rejects:
        if not all(reject[column] for column in ("stage", "rule", "detail", "source", "file")):
            raise AssertionError(f"a reject without a reason: {reject}")
    kept = sum(s.num_examples for s in info.splits.values())
    same("rows in = rows out + rejects", kept + len(rejects), ledger["stages"][0]["rows_in"])
    print(f"{out.name}: {kept} rows in {', '.join(info.splits)}; {len(rejects)} rejects; card and features agree")


def main(folders):
    if not folders:
        sys.exit(__doc__)
    for folder in folders:
        try:
            check(Path(folder).resolve())
        except AssertionError as error:
            sys.exit(f"{folder}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
