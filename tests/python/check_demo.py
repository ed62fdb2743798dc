"""The chain `tiny` learned what it was taught: python tests/python/check_demo.py CHAIN

CHAIN is the folder of `setaccio train-all`. After training each answer is the row's, word for word; before it none has a word of it.
"""

import json
import re
import sys
from pathlib import Path

ROWS = Path(__file__).parents[2] / "data/samples"


def words(text):
    return re.findall(r"[^\W\d_]{3,}|\d+", text.lower())


def main(chain):
    rows = [json.loads((ROWS / name).read_text(encoding="utf-8")) for name in ("camoscio.json", "stambecco.json")]
    taught = {row["instruction"]: row["output"] for rows in rows for row in rows if not row["input"]}
    samples = json.loads((Path(chain) / "samples.json").read_text(encoding="utf-8"))
    assert len(samples) == 3, samples
    for sample in samples:
        expected = words(taught[sample["prompt"]])
        assert words(sample["after"]) == expected, sample
        assert not set(words(sample["before"])) & set(expected), sample
        print(f"{sample['prompt']}\n  before  {sample['before'][:60]!r}\n  after   {sample['after']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
