"""Writes data of realistic size and layout for benchmarks, recombined from the real rows of tools/bench-rows.sh.

    python benches/peers/standins.py ROOT --real ROWS --web-mb 200
    python benches/peers/standins.py ROOT --real ROWS --rows 100000

They are stand-ins: the published data sets are not among them, and no figure measured on them is a figure of theirs.
A page is made of paragraphs of Italian manual pages and Italian sentences between lines of menus and notices;
one in eight is of another language, one in fifty holds a listed word, some have braces, scripts or too little text.
An Orca row is an Alpaca row under a system prompt. The same arguments give the same bytes.
"""

import argparse
import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MENU = ("Home", "Chi siamo", "Contatti", "Leggi tutto...", "Accedi | Registrati", "Condividi su:", "Torna su", "Menu principale",
        "Articoli correlati", "Cerca nel sito", "Newsletter", "Commenti (0)", "Scritto da redazione", "Prezzo: 12,50 €")
NOTICES = ("Questo sito utilizza i cookie per offrirti un servizio migliore.", "This site uses cookies to improve your visit.",
           "Per vedere questo video bisogna attivare JavaScript nel browser.", "Leggi la nostra privacy policy per saperne di più.")
SYSTEMS = ("You are an AI assistant. Give a detailed answer, so that the user need not search elsewhere.",
           "You are a helpful assistant. Think step by step and justify your steps.",
           "Explain as if to a child of five.", "", "You are an AI assistant that follows instructions very well. Help as much as you can.")


def handbook(real):
    """Paragraphs by language."""
    pages = {}
    with gzip.open(real / "handbook.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            paragraphs = [p.strip() for p in row["text"].split("\n") if len(p.strip()) > 40]
            pages.setdefault(row["lang"], []).extend(paragraphs)
    return pages


class Pages:
    """An endless supply of pages."""

    def __init__(self, real, seed):
        self.dice = random.Random(seed)
        books = handbook(real)
        sentences = (real / "sentences.txt").read_text(encoding="utf-8").splitlines()
        self.italian = books.pop("it")
        self.sentences = [s for s in sentences if s.strip()]
        self.foreign = sorted(books.items())
        listed = [(real / "words" / lang).read_text(encoding="utf-8").split("\n") for lang in ("it", "en")]
        self.words = [w for words in listed for w in words if w.strip()]

    def paragraph(self):
        if self.dice.random() < 0.5:
            return self.dice.choice(self.italian)
        return " ".join(self.dice.sample(self.sentences, self.dice.randint(2, 5)))

    def page(self):
        dice = self.dice
        count = max(1, int(dice.lognormvariate(1.9, 0.8)))
        if dice.random() < 0.125:
            paragraphs = dice.choice(self.foreign)[1]
            body = [dice.choice(paragraphs) for _ in range(count)]
        else:
            body = [self.paragraph() for _ in range(count)]
        if dice.random() < 0.02:
            at = dice.randrange(len(body))
            body[at] = f"{body[at]} {dice.choice(self.words)} {dice.choice(self.sentences)}"
        if dice.random() < 0.03:
            body.insert(dice.randrange(len(body) + 1), "function init() { return true; }.")
        if dice.random() < 0.01:
            body.append("Lorem ipsum dolor sit amet, consectetur adipiscing elit.")
        head = dice.sample(MENU, dice.randint(1, 6))
        foot = dice.sample(MENU, dice.randint(0, 4)) + dice.sample(NOTICES, dice.randint(0, 2))
        return "\n".join(head + body + foot)


def web(folder, real, megabytes):
    """mC4's layout, in Parquet files of 40 MB of text with row groups of 1,000 pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = Pages(real, seed=1)
    number = made = 0
    while made < megabytes * 1_000_000:
        texts, size = [], 0
        while size < min(40, megabytes) * 1_000_000:
            texts.append(pages.page())
            size += len(texts[-1].encode())
        rows = len(texts)
        table = pa.table({
            "url": [f"https://sito{i % 997}.example/pagina/{number}/{i}" for i in range(rows)],
            "text": texts,
            "timestamp": ["2019-04-21T10:00:00Z"] * rows,
        })
        pq.write_table(table, folder / f"part-{number:03}.parquet", compression="zstd", row_group_size=1000)
        number, made = number + 1, made + size
    print(f"{folder}: {number} files, {made / 1e6:.0f} MB of text")


def orca(root, real, rows):
    """The three Orca sets, `rows` rows in all, as JSON arrays; about one row in twenty repeats another."""
    alpaca = json.loads((real / "alpaca.json").read_text(encoding="utf-8"))
    dice = random.Random(2)
    for name, share in (("wizardlm-orca", 0.45), ("alpaca-orca", 0.42), ("dolly-orca", 0.13)):
        made = []
        for number in range(int(rows * share)):
            a, b = dice.choice(alpaca), dice.choice(alpaca)
            tag = "" if dice.random() < 0.05 else f" (case {dice.randrange(10**9)})"
            instruction = a["instruction"] + tag
            if dice.random() < 0.3:
                instruction = f"<<human>>: {instruction}"
            output = a["output"] if not tag else f"{a['output']}\n\n{b['output']}"
            made.append({"system": dice.choice(SYSTEMS), "instruction": instruction, "input": a["input"], "output": output})
            if name == "wizardlm-orca":
                del made[-1]["input"]
        (root / name).mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in made)
        (root / name / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        print(f"{root / name}: {len(made)} rows")


def preferences(root, real, rows):
    """orpo-dpo-mix-40k v1.2; one row in eighty is of the toxic part."""
    pairs = json.loads((real / "preference.json").read_text(encoding="utf-8"))
    dice = random.Random(3)
    role = {"human": "user", "gpt": "assistant", "system": "system"}
    made = []
    for number in range(rows):
        pair = dice.choice(pairs)
        turns = [{"content": t["value"], "role": role[t["from"]]} for t in pair["conversations"]]
        turns[-1]["content"] += f" (case {number})"
        chosen, rejected = ({"content": pair[s]["value"], "role": "assistant"} for s in ("chosen", "rejected"))
        source = "toxic-dpo-v0.2" if dice.random() < 1 / 80 else "argilla/ultrafeedback-binarized-preferences-cleaned"
        made.append({"source": source, "chosen": [*turns, chosen], "rejected": [*turns, rejected],
                     "prompt": turns[-1]["content"], "question": None})
    turn = pa.list_(pa.struct({"content": pa.string(), "role": pa.string()}))
    schema = pa.schema({"source": pa.string(), "chosen": turn, "rejected": turn, "prompt": pa.string(), "question": pa.string()})
    folder = root / "orpo-dpo-mix-40k"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(made, schema), folder / "train.parquet", compression="snappy", row_group_size=10_000)
    print(f"{folder}: {len(made)} rows")


def clean(root, real, rows):
    """clean_mc4_it: JSON lines in gzip, eight files."""
    pages, folder = Pages(real, seed=4), root / "clean-mc4-it"
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(8):
        with gzip.open(folder / f"c4-it.tfrecord-{part:05}-of-00008.json.gz", "wt", 6, encoding="utf-8") as out:
            for number in range(rows // 8):
                row = {"text": pages.page(), "timestamp": "2019-04-21T10:00:00Z", "url": f"https://s{part}.example/{number}"}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{folder}: {rows // 8 * 8} rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--real", type=Path, required=True, metavar="ROWS", help="the folder that tools/bench-rows.sh prints")
    parser.add_argument("--web-mb", type=int, help="megabytes of raw web text, in ROOT/mc4-it-raw")
    parser.add_argument("--rows", type=int, help="rows of the Orca sets, of the preference mix and of clean_mc4_it")
    args = parser.parse_args()
    if args.web_mb:
        web(args.root / "mc4-it-raw", args.real, args.web_mb)
    if args.rows:
        orca(args.root, args.real, args.rows)
        preferences(args.root, args.real, args.rows)
        clean(args.root, args.real, args.rows)


if __name__ == "__main__":
    main()
