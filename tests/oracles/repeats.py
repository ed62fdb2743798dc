#!/usr/bin/env python3
"""What `[dedup.repeats]` and the rule `repeats` must leave, worked out a second time from their definitions, in memory: rows,
removed units, remaining texts. Beside it, what datatrove's deduplication of lines removes of the same texts.

    pip install xxhash==4.1.0
    python tests/oracles/repeats.py                 # writes repeats.json beside itself

    pip install 'datatrove[processing]==0.9.0' nltk==3.10.4 spacy==3.8.18
    python tests/oracles/repeats.py --datatrove     # compares its lines

`tests/e2e/repeats.rs` builds the texts of that file and holds what is published against it.
"""

import hashlib
import json
import random
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import xxhash

SEED = 42
RANK = {"b": 0, "a": 1}
PLACES = "Bari Lecce Trani Matera Taranto Foggia Otranto Gravina Molfetta Monopoli".split()
THINGS = "il porto la piazza il mercato la scuola il teatro la chiesa il museo la stazione".split()
WHAT = [f"{THINGS[i]} {THINGS[i + 1]}" for i in range(0, len(THINGS), 2)]
ENDS = ["apre alle nove", "resta chiuso il lunedì", "fu costruito in pietra", "accoglie molti visitatori", "è tornato com'era"]


def corpus():
    """(source, text): lines of one or two sentences, some of which are drawn from the same few."""
    rng = random.Random(7)
    sentence = lambda: f"A {rng.choice(PLACES)} {rng.choice(WHAT)} {rng.choice(ENDS)} da {rng.randrange(2, 9999)} anni."
    common = [
        "Questo sito usa i cookie per offrirti un servizio migliore.",
        "Leggi anche le altre notizie di oggi.",
        "Iscriviti alla nostra newsletter settimanale!",
        "Tutti i diritti riservati. Riproduzione vietata.",
        "Perché non ci scrivi? Rispondiamo a tutti.",
        "Condividi.",
        "* * *",
    ]
    pool = [sentence() for _ in range(60)]
    texts = []
    for number in range(110):
        lines = []
        for _ in range(rng.randrange(1, 9)):
            draw = rng.random()
            if draw < 0.3:
                line = rng.choice(common)
            elif draw < 0.55:
                # Runs of the same sentences, so that spans overlap.
                at = rng.randrange(len(pool) - 4)
                line = " ".join(pool[at : at + rng.randrange(1, 5)])
            else:
                line = " ".join(sentence() for _ in range(rng.randrange(1, 3)))
            style = rng.randrange(8)
            if style == 0:
                line = line.upper().replace("  ", " ")
            elif style == 1:
                line = "  " + line.replace(" ", "  ", 2)
            elif style == 2:
                line = unicodedata.normalize("NFD", line) + " "
            lines.append(line)
        breaks = ["\n", "\n", "\n\n", "\r\n", "\n \n"]
        text = lines[0] + "".join(rng.choice(breaks) + line for line in lines[1:])
        texts.append(("ab"[number % 3 == 1], text + ["", "\n", "\n\n"][number % 3]))
    texts += [
        # A row whose copy differs in its lines alone: of both, one stays, and only its lines count.
        ("a", "Prima riga della copia. Seconda riga della copia."),
        ("b", "Prima riga della copia.\nSeconda riga della copia."),
        ("a", "Prima riga della copia.\nAltro testo che resta da solo qui."),
        # All of it is elsewhere; the same line four times; one line; spans that overlap in one row.
        ("a", "\n".join(common)),
        ("a", "\n".join(["Una riga che torna sempre."] * 4)),
        ("a", "Condividi."),
        ("b", "Uno torna. Due torna. Uno torna. Due torna. Uno torna. Due torna."),
        ("a", "\n\nRiga che inizia dopo righe vuote.\n\n\nCondividi.\n\nRiga che chiude il testo con altro.\n"),
    ]
    return texts


def normal(text):
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()


def units(text, unit):
    """[start, end) of each."""
    found, at, open_ = [], 0, False
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        body = line.rstrip("\n").removesuffix("\r")
        if not body.strip():
            open_ = False
            continue
        if unit == "sentences":
            for part in re.finditer(r"\S.*?[.!?](?=\s+[A-ZÈ]|\s*$)|\S.*\S", body):
                found.append([start + part.start(), start + part.end()])
        elif unit == "paragraphs" and open_:
            found[-1][1] = start + len(body)
        else:
            found.append([start, start + len(body)])
        open_ = True
    return found


def without(text, cut, gone):
    """Of all white space between two units that stay, the piece with the most line breaks, the first of equal ones."""
    stay = [i for i in range(len(cut)) if i not in gone]
    if not stay:
        return ""
    out = text[: cut[0][0]]
    for before, i in zip([None] + stay, stay):
        if before is not None:
            gaps = [text[cut[j][1] : cut[j + 1][0]] for j in range(before, i)]
            out += max(gaps, key=lambda gap: gap.count("\n"))
        out += text[cut[i][0] : cut[i][1]]
    return out + text[cut[-1][1] :]


def survivors(rows):
    """What exact deduplication leaves: (rank, order, id, text)."""
    first = {}
    for source, text in rows:
        same = xxhash.xxh3_128_intdigest(normal(text).encode())
        order = xxhash.xxh3_64_intdigest(same.to_bytes(16, "little"), seed=SEED)
        row = (RANK[source], hashlib.sha256(text.encode()).hexdigest()[:32], order, text)
        first[same] = min(first.get(same, row), row)
    return [(rank, order, identity, text) for rank, identity, order, text in first.values()]


def decide(rows, unit, span, min_copies, min_span_words, min_sentences, min_words):
    rows = survivors(rows)
    copies = defaultdict(list)
    for rank, order, _, text in rows:
        cut = units(text, unit)
        forms = [normal(text[a:b]) for a, b in cut]
        for place in range(len(cut) - span + 1):
            if sum(len(text[a:b].split()) for a, b in cut[place : place + span]) >= min_span_words:
                copies[tuple(forms[place : place + span])].append((rank, order, place))
    gone = defaultdict(set)
    for places in copies.values():
        if len(places) >= min_copies:
            for _, order, place in sorted(places)[1:]:
                gone[order].update(range(place, place + span))
    changed, dropped, before, after = [], [], set(), set()
    for _, order, identity, text in rows:
        cut = units(text, unit)
        forms = [normal(text[a:b]) for a, b in cut]
        before.update(forms)
        after.update(form for i, form in enumerate(forms) if i not in gone[order])
        if not gone[order]:
            continue
        left = without(text, cut, gone[order])
        words, sentences = len(left.split()), len(units(left, "sentences"))
        if words < max(min_words, 1) or sentences < min_sentences:
            dropped.append([identity, len(gone[order]), len(cut), words, sentences])
        else:
            changed.append([identity, digest(left), len(gone[order]), len(text) - len(left)])
    assert before == after, "whatever goes stays somewhere"
    return {"changed": sorted(changed), "dropped": sorted(dropped), "rows": len(rows)}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def within(text, unit, min_words):
    cut, seen, gone = units(text, unit), set(), set()
    for i, (a, b) in enumerate(cut):
        form = normal(text[a:b])
        if len(form.split()) >= min_words:
            if form in seen:
                gone.add(i)
            seen.add(form)
    return without(text, cut, gone)


SETTINGS = {
    "lines": ("lines", 1, 2, 0, 1, 0),
    "lines of C4": ("lines", 1, 2, 0, 3, 0),
    "sentences": ("sentences", 3, 2, 0, 0, 0),
    "sentences one by one": ("sentences", 1, 2, 4, 2, 12),
    "paragraphs": ("paragraphs", 1, 2, 0, 0, 6),
    "often": ("lines", 1, 4, 5, 0, 0),
    "runs of lines": ("lines", 2, 2, 0, 0, 0),
}


def datatrove(rows):
    """Lines that datatrove removes of rows that exact deduplication leaves, by their normal form, beside ours."""
    import tempfile

    from datatrove.data import Document
    from datatrove.pipeline.dedup import SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig
    from datatrove.utils.hashing import HashConfig

    # What both take for the same: no signs, numbers or accents that only one of them leaves out.
    plain = lambda text: re.sub(r"[^a-z\n ]", "", "\n".join(normal(line) for line in text.splitlines() if line.strip()))
    texts = sorted({plain(text) for _, _, _, text in survivors(rows)})
    texts = ["\n".join(line for line in text.split("\n") if line.strip()) for text in texts]
    config = SentDedupConfig(
        n_sentences=1, split_sentences=False, min_doc_words=0, min_num_sentences=0, hash_config=HashConfig(precision=64, hash_fc="sha1")
    )
    folder = tempfile.mkdtemp()
    documents = lambda: [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    SentenceDedupSignature(output_folder=f"{folder}/sigs", config=config, finder_workers=1).run(documents(), 0, 1)
    SentenceFindDedups(data_folder=f"{folder}/sigs", output_folder=f"{folder}/dups", config=config).run(None, 0, 1)
    kept = list(SentenceDedupFilter(data_folder=f"{folder}/dups", config=config).run(documents(), 0, 1))
    left = Counter(line for doc in kept for line in doc.text.split("\n") if line.strip())
    ours = decide([("a", text) for text in texts], "lines", 1, 2, 0, 0, 0)
    removed = sum(row[2] for row in ours["changed"]) + sum(row[1] for row in ours["dropped"])
    lines = Counter(line for text in texts for line in text.split("\n") if line.strip())
    print("lines", sum(lines.values()), "different", len(lines), "left by datatrove", sum(left.values()), "by us", sum(lines.values()) - removed)
    assert set(left) == set(lines) and sum(left.values()) == sum(lines.values()) - removed


def main():
    rows = corpus()
    if "--datatrove" in sys.argv:
        datatrove(rows)
        return
    out = {
        "rows": rows,
        "dedup": {name: dict(zip(NAMES, s)) | decide(rows, *s) for name, s in SETTINGS.items()},
        "within": [
            {"unit": unit, "min_words": words, "left": {str(i): digest(left) for i, (_, text) in enumerate(rows) if (left := within(text, unit, words)) != text}}
            for unit, words in [("paragraphs", 0), ("lines", 0), ("lines", 5), ("sentences", 3)]
        ],
    }
    path = Path(__file__).with_suffix(".json")
    text = json.dumps(out, ensure_ascii=False, indent=1)
    # A row of numbers and short texts is a line.
    text = re.sub(r"\[\n\s+(\"[0-9a-f]{32}\"[^\[\]]*?)\n\s+\]", lambda m: "[" + re.sub(r"\n\s+", " ", m[1]) + "]", text)
    path.write_text(text + "\n", encoding="utf-8")
    for name, found in out["dedup"].items():
        print(f"{name}: {found['rows']} rows, {len(found['changed'])} changed, {len(found['dropped'])} dropped")
    print("within:", [len(part["left"]) for part in out["within"]])


NAMES = ["unit", "span", "min_copies", "min_span_words", "min_sentences", "min_words"]
main()
