#!/usr/bin/env python3
"""What `[decontamination]` must find, worked out a second time from its definition and by brute force: every text of every item is
held against every row, n-grams as tuples of words, without a hash or an index.

    python tests/oracles/decontamination.py      # writes decontamination.json beside itself; needs nothing but Python

The file holds the evaluation sets, the rows and what each measure finds. `tests/e2e/decontamination.rs` builds a data set of them.
"""

import hashlib
import json
import unicodedata
from fractions import Fraction
from pathlib import Path

MASK64 = 2**64 - 1
MIN_WORDS = 3


class SplitMix:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014)."""

    def __init__(self, seed):
        self.state = seed

    def next(self, below):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        return (z ^ (z >> 31)) % below


SYLLABLES = [c + v for c in "bdfglmnprstv" for v in "aeiou"]


def word(rng):
    """A made-up word, or now and then a number or a small word that every text has."""
    kind = rng.next(12)
    if kind == 0:
        return str(rng.next(3000))
    if kind < 4:
        return ("di", "la", "che", "per", "un", "e")[rng.next(6)]
    return "".join(SYLLABLES[rng.next(len(SYLLABLES))] for _ in range(2 + rng.next(2)))


def words_with_places(text):
    """The normal form and, for each word, where it begins and ends: form D without marks, lower case, a number as 0."""
    words, places = [], []
    current, start, i = "", 0, 0

    def end(at):
        nonlocal current
        if current:
            words.append(current)
            places.append((start, at))
        current = ""

    digit = lambda c: c.isascii() and c.isdigit()
    while i < len(text):
        if not current:
            start = i
        c = text[i]
        if digit(c):
            while i < len(text) and (digit(text[i]) or (text[i] in ".,'" and digit(text[i + 1 : i + 2]))):
                i += 1
            current += "" if current.endswith("0") else "0"
            continue
        for part in unicodedata.normalize("NFD", c):
            if unicodedata.combining(part):
                continue
            if part.isalnum():
                current += part.lower()
            else:
                end(i)
        i += 1
    end(len(text))
    return words, places


def style(words, rng):
    """The same words in other letters and with other signs between them."""
    how = rng.next(5)
    if how == 0:
        return " ".join(words)
    if how == 1:
        return ", ".join(words).upper()
    if how == 2:
        return "\n".join(words).replace("a", "\u00e0")
    if how == 3:
        return " \u00ab" + "\u00bb - ".join(words) + "\u00bb"
    return " ".join(words).replace("e", "e\u0301")


def sets():
    quiz, notes = [], []
    for i in range(40):
        rng = SplitMix(100 + i)
        question = [word(rng) for _ in range(3 + rng.next(30))]
        choices = [[word(rng) for _ in range(1 + rng.next(9))] for _ in range(4)]
        quiz.append(
            {"id": f"q{i}", "question": " ".join(question) + "?", "choices": {"text": [" ".join(c) for c in choices]}}
        )
    for i in range(20):
        rng = SplitMix(900 + i)
        notes.append({"text": " ".join(word(rng) for _ in range(1 + rng.next(12)))})
    # The same item twice, in two sets.
    notes.append({"text": quiz[7]["question"]})
    return quiz, notes


def rows(quiz, notes):
    texts = []
    for i in range(220):
        rng = SplitMix(5000 + i)
        said = [word(rng) for _ in range(20 + rng.next(60))]
        item = quiz[rng.next(len(quiz))]
        question = item["question"].rstrip("?").split()
        at = rng.next(len(said))
        kind = i % 8
        if kind == 1:
            planted = style(question, rng)
        elif kind == 2:
            first = rng.next(len(question))
            planted = style(question[first : first + 1 + rng.next(len(question))], rng)
        elif kind == 3:
            cut = rng.next(len(question))
            filler = " ".join(word(rng) for _ in range(rng.next(4)))
            planted = f"{style(question[:cut], rng)} {filler} {style(question[cut:], rng)}"
        elif kind == 4:
            labelled = [f"{letter}) {text}" for letter, text in zip("ABCD", item["choices"]["text"])]
            planted = " ".join(question) + "?\n" + "\n".join(labelled)
        elif kind == 5:
            planted = style(notes[rng.next(len(notes))]["text"].split(), rng)
        elif kind == 6:
            # Numbers of a text have no value.
            planted = " ".join("31.415,9" if w.isdigit() else w for w in question)
        else:
            planted = ""
        texts.append(f"{' '.join(said[:at])} {planted} {' '.join(said[at:])}".strip())
    return texts


def items(quiz, notes):
    """(set, item, its texts), in order."""
    for item in quiz:
        yield "quiz", item["id"], [item["question"], item["question"] + "\n" + "\n".join(item["choices"]["text"])]
    for number, item in enumerate(notes):
        yield "note", f"x.jsonl:{number}", [item["text"]]


def runs(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def find(rows_of_text, quiz, notes, n, share):
    looked_for, short = [], {"quiz": 0, "note": 0}
    for set_, name, texts in items(quiz, notes):
        cut = [words_with_places(text)[0] for text in texts]
        longest = max(len(words) for words in cut)
        if longest < MIN_WORDS:
            short[set_] += 1
            continue
        looked_for += [(set_, name, words) for words in cut if len(words) >= min(n, longest)]
    found, held, dropped = [], {"quiz": set(), "note": set()}, {"quiz": 0, "note": 0}
    for text in rows_of_text:
        words, places = words_with_places(text)
        best = None
        for set_, name, item in looked_for:
            length = min(n, len(item))
            there = set(runs(words, length))
            covered = {i + k for i, run in enumerate(runs(item, length)) if run in there for k in range(length)}
            part = Fraction(len(covered), len(item))
            if not covered or (share is not None and part < share):
                continue
            held[set_].add(name)
            if best is None or (part, len(item)) > best[0]:
                best = ((part, len(item)), set_, name, item, len(covered))
        if best is None:
            continue
        _, set_, name, item, covered = best
        length = min(n, len(item))
        of_item = set(runs(item, length))
        mine = {i + k for i, run in enumerate(runs(words, length)) if run in of_item for k in range(length)}
        # Runs that touch are one span; the longest, the first of equal ones.
        spans, first = [], None
        for i in range(len(words) + 1):
            if i in mine and first is None:
                first = i
            elif i not in mine and first is not None:
                spans.append((i - first, -first))
                first = None
        size, first = max(spans)
        start, end = places[-first][0], places[-first + size - 1][1]
        dropped[set_] += 1
        identity = hashlib.sha256(text.encode()).hexdigest()[:32]
        found.append([identity, set_, name, covered, len(item), start, end])
    counts = {s: {"short": short[s], "found": len(held[s]), "rows": dropped[s]} for s in ("quiz", "note")}
    return {"rows": sorted(found), "sets": counts}


def main():
    quiz, notes = sets()
    texts = rows(quiz, notes)
    out = {
        "quiz": quiz,
        "note": notes,
        "rows": texts,
        "tulu3": find(texts, quiz, notes, 8, Fraction(1, 2)),
        "gpt3": find(texts, quiz, notes, 13, None),
        "ngram_5_share_0.9": find(texts, quiz, notes, 5, Fraction(9, 10)),
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(len(texts), "rows;", {k: (len(v["rows"]), v["sets"]) for k, v in out.items() if isinstance(v, dict)})


main()
