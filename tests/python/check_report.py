"""The pages of `setaccio report`, opened in a real Chromium, and the numbers of `setaccio compare`, counted again by Python.

    python tests/python/check_report.py SETACCIO [PACKAGES CHROMIUM [PICTURES]]

SETACCIO is the program, PACKAGES and CHROMIUM are those of tests/page/check_report.mjs. A build of planted rows gets its page: scripts,
links that run, overrides of direction and codes of terminals among rows that rules drop, mask, find in an evaluation set and take for
copies. Builds of other rows by another recipe are compared with it, by pyarrow and dictionaries here. Exits 1 at the first thing that is
not as expected.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from server import same

RECIPE = """
name = "planted"
title = "Planted rows"
about = "Rows that want to be more than text."
kind = "text"

[[source]]
name = "web"
schema = "text"
path = "web.jsonl"
language = "it"

[[source]]
name = "forum"
schema = "text"
path = "forum.jsonl"
language = "en"

[[filter]]
rule = "bad_words"
as = "planted"
words = ["piantato"]

[[filter]]
rule = "length"
min_chars = 60

[[filter]]
rule = "personal_data"

[decontamination]
[[decontamination.set]]
name = "quiz"
path = "quiz.jsonl"
fields = "question"

[dedup.near]
threshold = 0.7

[sample]
rows = 400

[split]
validation = 0.1
"""

PLANTED = (
    "Piantato: </script><script>window.planted = 1; document.title = 'planted'</script><img src=x onerror=\"window.planted = 2\"> "
    "[qui](javascript:window.planted=3) \u202eoirartnoc\u202c \x1b[31mrosso\x1b[0m <!-- @DATA@ {specie}\n" + "Una riga lunga che si ripete. " * 40
)
QUESTION = "Quale fra i fiumi che attraversano la città di Torino è il più lungo di tutti quelli che ci sono in Italia"
WHO = ["Il maestro", "La nonna", "Un contadino", "Il fornaio", "Una bambina", "Lo zio", "Il gatto"]
DOES = ["racconta", "dimentica", "ritrova", "prepara", "nasconde", "descrive", "compra", "aspetta", "disegna", "perde", "saluta"]
WHAT = ["una storia", "il pane", "le chiavi", "un libro", "la bicicletta", "il treno", "un cesto", "la lettera", "un fiore"]


def text(n):
    """Three sentences; no two numbers give the same."""
    pick = lambda words, i: words[(n * (7 + i) + n // 11 + i) % len(words)]  # noqa: E731
    return " ".join(f"{pick(WHO, i)} {pick(DOES, i)} {pick(WHAT, i)} numero {n * 3 + i} della casa {n % (17 + i)}." for i in range(3))


def rows(source):
    start = {"web": 0, "forum": 10_000}[source]
    yield from (text(start + n) for n in range(300))
    yield from (text(start + n) for n in range(0, 40, 2))
    yield from (text(start + n) + " Fine." for n in range(1, 40, 2))
    yield from (f"Breve {n}." for n in range(25))
    yield from (f"{text(start + 500 + n)} Scrivi ad anna{n}@posta.example." for n in range(12))
    yield f"{text(start + 600)} {QUESTION}?"
    yield PLANTED.replace("{specie}", "ornitorinco" if source == "web" else "castoro")


def made(setaccio, folder, name, recipe, rows_of):
    """A build of its own in `folder`."""
    place = folder / name
    place.mkdir()
    (place / "recipe.toml").write_text(recipe, encoding="utf-8")
    (place / "quiz.jsonl").write_text(json.dumps({"question": QUESTION}) + "\n", encoding="utf-8")
    for source in ("web", "forum"):
        lines = (json.dumps({"text": text}) + "\n" for text in rows_of(source))
        (place / f"{source}.jsonl").write_text("".join(lines), encoding="utf-8")
    subprocess.run([setaccio, "build", place / "recipe.toml", "--out", place / "out", "--quiet"], check=True)
    return place / "out"


def kept(out):
    """What each id is in a build: source, split and what else is not its text."""
    found = defaultdict(list)
    for path in sorted((out / "data").iterdir()):
        for row in pq.read_table(path).to_pylist():
            found[row["id"]].append((row["source"], path.name.split("-")[0], row["language"]))
    return {id: sorted(rows) for id, rows in found.items()}


def dropped(out):
    """The first rule that dropped each id, in the order of the ledger."""
    ledger = json.loads((out / "ledger.json").read_text(encoding="utf-8"))
    order = {(stage["stage"], rule["rule"]): i for i, (stage, rule) in enumerate((s, r) for s in ledger["stages"] for r in s["rules"])}
    found = {}
    for path in sorted((out / "rejects").iterdir()):
        for row in pq.read_table(path, columns=["stage", "rule", "id"]).to_pylist():
            rule = (row["stage"], row["rule"])
            if row["id"] is not None and (row["id"] not in found or order[rule] < order[found[row["id"]]]):
                found[row["id"]] = rule
    return found


def compared(a, b):
    """What differs between two builds, as `setaccio compare --json` has it."""
    (kept_a, kept_b), (dropped_a, dropped_b) = (kept(a), kept(b)), (dropped(a), dropped(b))
    rows, sources, fates, changes = Counter(), defaultdict(Counter), defaultdict(Counter), Counter()

    def count(what, source):
        rows[what] += 1
        sources[source][what] += 1

    for id in kept_a.keys() | kept_b.keys():
        one, other = Counter(kept_a.get(id, [])), Counter(kept_b.get(id, []))
        for row in (one & other).elements():
            count("same", row[0])
        left, right = sorted((one - other).elements()), sorted((other - one).elements())
        for before, after in zip(left, right):
            count("changed", before[0])
            changes.update(name for name, x, y in zip(("source", "split", "columns"), before, after) if x != y)
        for row in left[len(right):]:
            count("removed", row[0])
            fates[dropped_b.get(id, ("", ""))]["removed"] += 1
        for row in right[len(left):]:
            count("added", row[0])
            fates[dropped_a.get(id, ("", ""))]["added"] += 1
    counts = lambda c: {what: c[what] for what in ("same", "added", "removed", "changed")}  # noqa: E731
    return {
        "rows": counts(rows),
        "sources": {source: counts(c) for source, c in sorted(sources.items())},
        "fates": sorted((*rule, c["added"], c["removed"]) for rule, c in fates.items()),
        "changes": dict(sorted(changes.items())),
    }


def check_compare(setaccio, folder, a, b):
    rows = folder / "rows.parquet"
    said = subprocess.run([setaccio, "compare", a, b, "--json", "--rows", rows], check=True, capture_output=True, text=True)
    said = json.loads(said.stdout)
    said["fates"] = sorted((f["stage"], f["rule"], f["added"], f["removed"]) for f in said["fates"])
    expected = compared(a, b)
    for key, value in expected.items():
        same(f"{key} of {a} and {b}", said[key], value)
    written = Counter(row["change"] for row in pq.read_table(rows, columns=["change"]).to_pylist())
    counts = expected["rows"]
    # Of a row that changed both sides are there.
    same("rows that are written", written, +Counter(added=counts["added"], removed=counts["removed"], changed=2 * counts["changed"]))
    for row in pq.read_table(rows).to_pylist():
        side = kept(a) if row["build"] == "a" else kept(b)
        if not any(source == row["source"] for source, *_ in side[row["id"]]):
            raise AssertionError(f"{row} is not a row of its build")
        break
    return said


def check_compares(setaccio, folder, a):
    other = RECIPE.replace("min_chars = 60", "min_chars = 170").replace("rows = 400", "rows = 450")
    other = other.replace('language = "en"', 'language = "fr"').replace("validation = 0.1", "validation = 0.3")

    def fewer(source):
        yield from (text for i, text in enumerate(rows(source)) if i % 7)
        yield from (text(70_000 + n) for n in range(20))

    b = made(setaccio, folder, "b", other, fewer)
    said = check_compare(setaccio, folder, a, b)
    if not all(said["rows"].values()) or not said["changes"] or len(said["fates"]) < 3:
        raise AssertionError(f"these builds do not differ in all ways: {said}")
    settings = dict(said["settings"])
    same("a setting", settings["filter[length].min_chars"], ["60", "170"])
    same("sources", settings["source[forum].language"], ["en", "fr"])
    check_compare(setaccio, folder, b, a)
    # Without deduplication, rows that are there several times; in another order.
    plain = RECIPE.replace("[dedup.near]\nthreshold = 0.7\n", "").replace("[sample]\nrows = 400\n", "")
    c = made(setaccio, folder, "c", plain, rows)
    d = made(setaccio, folder, "d", "seed = 7\n" + plain, fewer)
    check_compare(setaccio, folder, c, d)
    said = check_compare(setaccio, folder, c, c)
    same("a build and itself", said["rows"]["same"], sum(len(rows) for rows in kept(c).values()))
    print(f"compare: as pyarrow counts, of builds of {said['a']['rows']} rows and others")


def main(setaccio, packages=None, chromium=None, pictures=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        out = made(setaccio, folder, "a", RECIPE, rows)
        subprocess.run([setaccio, "report", out], check=True)
        check_compares(setaccio, folder, out)
        if chromium:
            page = Path(__file__).parent.parent / "page/check_report.mjs"
            subprocess.run(["node", page, packages, chromium, out, *([pictures] if pictures else [])], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
