"""Checks the Italian samples: schemas, counts, and that every case is what the sources say it is.

    pip install pyarrow==26.0.1 langdetect==1.0.9
    python data/samples/src/check.py [DIR with LDNOOBW's `it` and `en`]

With the LDNOOBW lists it also makes sure that no page meant to be kept holds a word of theirs by accident. Language is
judged as clean_mc4_it does it: LangDetect, seed 0.
"""

import gzip
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from langdetect import DetectorFactory, detect_langs

from clean_mc4_it import clean, sentences
from pages import SRC, raw_pages, read_pages

HERE = SRC.parent

DetectorFactory.seed = 0
BAD_WORDS = ("cazzo", "merda", "stronzo", "fuck", "bullshit")
TURN = re.compile(r"\[\|(Human|AI)\|\]")
problems = []


def expect(truth, message):
    if not truth:
        problems.append(message)


def bad_word(text, words):
    found = re.search(r"(?<!\w)(" + "|".join(map(re.escape, words)) + r")(?!\w)", text.lower())
    return found and found[1]


def language(text):
    return detect_langs(text)[0].lang


def check_verdict(page, verdict, words):
    """What the rules after the line rules say about the document, against what its header says."""
    text = "\n".join(line for _, line in clean(page.text)[0])
    count = sentences(text)
    if found := bad_word(page.text, words):
        got = "bad_words"
    elif verdict:
        found, got = "", verdict
    elif count < 5:
        found, got = count, "sentences"
        expect(count <= 4, f"{page.url}: {count} sentences is too near the threshold")
    elif not 500 <= len(text) <= 50_000:
        found, got = len(text), "length"
    elif (found := language(text)) != "it":
        got = "language"
    else:
        found, got = "", "keep"
    expect(got == page.expected, f"{page.url}: expected {page.expected}, the oracle says {got} ({found})")
    if got == "keep":
        expect(count >= 6, f"{page.url}: {count} sentences is too near the threshold")
        expect(language(page.text) == "it", f"{page.url}: the raw text does not look Italian")


def runs_of(text):
    """The runs of five words, with every number as 0."""
    words = re.findall(r"\w+", re.sub(r"\d+", "0", text.lower()))
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def near(one, another):
    """Whether the Jaccard similarity is 0.8 or more."""
    return len(one & another) >= 0.8 * len(one | another)


def evaluation_runs():
    """The runs of eight words of every question among the samples of evaluation sets."""
    runs = set()
    for path in sorted((HERE / "evaluation").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            named = ("question", "instruction", "ctx", "sentence", "input_translation")
            question = next(item[name] for name in named if name in item)
            words = re.findall(r"\w+", re.sub(r"\d+", "0", question.lower()))
            runs |= {tuple(words[i : i + 8]) for i in range(len(words) - 7)}
    return runs


def holds_a_question(text, runs=evaluation_runs()):
    words = re.findall(r"\w+", re.sub(r"\d+", "0", text.lower()))
    return any(tuple(words[i : i + 8]) in runs for i in range(len(words) - 7))


def check_raw(words):
    pages = raw_pages()
    table = pq.ParquetFile(HERE / "mc4_raw_it.parquet")
    expect(table.metadata.num_row_groups == 2, "mc4_raw_it.parquet: not two row groups")
    expect(table.schema_arrow.names == ["url", "text", "timestamp"], "mc4_raw_it.parquet: columns")
    rows = table.read().to_pylist()
    expect([(r["url"], r["text"]) for r in rows] == [(p.url, p.text) for p in pages], "mc4_raw_it.parquet is stale")
    expect(len({p.url for p in pages}) == len(pages), "mc4_raw_it: a url occurs twice")
    seen, kept_runs = set(), []
    on_pages = Counter(line for page in pages for line in {line for _, line in clean(page.text)[0]})
    for page in pages:
        kept, acted, verdict = clean(page.text)
        seen |= acted | {page.expected}
        runs = runs_of(" ".join(line for _, line in kept))
        if not verdict and any(near(runs, other) for other in kept_runs if other):
            verdict = "near"
        kept_runs.append(runs)
        if not verdict and holds_a_question(page.text):
            verdict = "decontamination"
        # Which page keeps a line that several hold is decided by a hash of the page.
        own = "\n".join(line for _, line in kept if on_pages[line] == 1)
        if not verdict and page.expected == "repeats" and sentences(own) < 3:
            verdict = "repeats"
        check_verdict(page, verdict, words)
    rules = ("bad_words long_tokens citations line_end min_words_per_line lorem_ipsum javascript curly policy sentences "
             "length language").split()
    for rule in rules:
        expect(rule in seen, f"mc4_raw_it: no instance of {rule}")
    return len(rows), sum(p.expected == "keep" for p in pages)


def check_clean(words):
    pages = read_pages("clean_mc4_it.txt")
    with gzip.open(HERE / "clean_mc4_it.json.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    expect([r["text"] for r in rows] == [p.text for p in pages], "clean_mc4_it.json.gz is stale")
    seen = set()
    runs_before = []
    for page, row in zip(pages, rows):
        expect(list(row) == ["text", "timestamp", "url"], f"{page.url}: columns")
        expect(500 <= len(page.text) <= 50_000 and sentences(page.text) >= 5, f"{page.url}: short for cleaned text")
        expect(all(line.rstrip().endswith(".") for line in page.text.splitlines()), f"{page.url}: a line without a full stop")
        key = " ".join(page.text.lower().split())
        found = bad_word(page.text, words)
        lang = language(page.text)
        got = "bad_words" if found else "language" if lang != "it" else "duplicate" if key in seen else "keep"
        runs = runs_of(key)
        if got == "keep" and any(near(runs, other) for other in runs_before):
            got = "near"
        runs_before.append(runs)
        if got == "keep" and holds_a_question(page.text):
            got = "decontamination"
        expect(got == page.expected, f"{page.url}: expected {page.expected}, got {got} ({found or lang})")
        seen.add(key)
    return len(rows), sum(p.expected == "keep" for p in pages)


def check_alpaca(name, others, words):
    rows = json.loads((HERE / name).read_text(encoding="utf-8"))
    for number, row in enumerate(rows):
        expect(list(row) == ["instruction", "input", "output"], f"{name} row {number}: columns {list(row)}")
        expect(all(isinstance(v, str) and v == v.strip() for v in row.values()), f"{name} row {number}: a loose value")
        text = " ".join(row.values())
        expect(not (found := bad_word(text, words)), f"{name} row {number}: bad word {found}")
    keys = [tuple(row.values()) for row in rows]
    found = {
        "rows": len(rows), "with_input": sum(bool(r["input"]) for r in rows),
        "empty_outputs": sum(not r["output"] for r in rows),
        "echoes": sum(r["output"] == r["instruction"] for r in rows), "duplicates": len(keys) - len(set(keys)),
        "shared": len(set(keys) & others),
        "not_italian": sum(language(r["output"]) != "it" for r in rows if len(r["output"]) > 80),
    }
    return found, set(keys)


def check_fauno(words):
    rows = json.loads((HERE / "fauno.json").read_text(encoding="utf-8"))
    exchanges = []
    for number, row in enumerate(rows):
        expect(set(row) <= {"topic", "input"}, f"fauno.json row {number}: columns")
        head, _, rest = row["input"].partition("\n")
        expect(head == "The conversation between human and AI assistant.", f"fauno.json row {number}: head line")
        turns = TURN.findall(rest)
        expect(turns[0] == "Human" and row["input"].endswith("\n[|Human|] "), f"fauno.json row {number}: ends")
        expect(all(a != b for a, b in zip(turns, turns[1:])), f"fauno.json row {number}: roles do not alternate")
        expect(language(TURN.sub("", rest)) == "it", f"fauno.json row {number}: not Italian")
        expect(not (found := bad_word(rest, words)), f"fauno.json row {number}: bad word {found}")
        exchanges.append(turns.count("AI"))
    expect(set(exchanges) == {1, 2, 3}, f"fauno.json: exchanges {set(exchanges)}")
    return len(rows), {n: exchanges.count(n) for n in (1, 2, 3)}


def main(lists):
    words = set(BAD_WORDS)
    for name in ("it", "en") if lists else ():
        words |= {line.strip().lower() for line in (Path(lists) / name).read_text().splitlines() if line.strip()}
    print("mc4_raw_it (rows, kept):", check_raw(words))
    print("clean_mc4_it (rows, kept):", check_clean(words))
    camoscio, keys = check_alpaca("camoscio.json", set(), words)
    print("camoscio:", camoscio)
    print("stambecco:", check_alpaca("stambecco.json", keys, words)[0])
    print("fauno (rows, exchanges):", check_fauno(words))
    for problem in problems:
        print("PROBLEM", problem)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
