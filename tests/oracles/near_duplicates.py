#!/usr/bin/env python3
"""What `[dedup.near]` must find, worked out a second time from its definitions: the normal form, shingles, sketches, groups and
the greedy choice over a corpus that is made by a formula, and beside it the truth by brute force over all pairs.

    pip install xxhash==4.1.0
    python tests/oracles/near_duplicates.py      # writes near_duplicates.json beside itself

`tests/e2e/near.rs` makes the same corpus, builds it, and holds what went against this file.
"""

import hashlib
import json
import struct
import unicodedata
from collections import defaultdict
from pathlib import Path

import xxhash

MASK32, MASK64 = 2**32 - 1, 2**64 - 1
NGRAM, BANDS, ROWS, THRESHOLD, SEED = 5, 14, 8, 0.8, 0x6E656172


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


SYLLABLES = [c + v for c in "bcdfglmnprstvz" for v in "aeiou"]


def word(number):
    return SYLLABLES[number % 70] + SYLLABLES[number // 70 % 70] + SYLLABLES[number // 4900 % 70]


def corpus():
    """(source, text): 300 texts of their own, then 300 changed copies of any text before them."""
    rows = []
    for i in range(300):
        rng = SplitMix(1000 + i)
        rows.append(("a", [word(rng.next(343_000)) for _ in range(60 + i % 90)]))
    for i in range(300):
        rng = SplitMix(5000 + i)
        words = list(rows[rng.next(len(rows))][1])
        for _ in range(i % 6):
            words[rng.next(len(words))] = word(rng.next(343_000))
        if i % 5 == 4:
            del words[: rng.next(9)]
        rows.append(("b" if i % 2 else "a", words))
    texts = []
    for i, (source, words) in enumerate(rows):
        style = i % 3
        if style == 0:
            text = " ".join(words)
        elif style == 1:
            text = ", ".join(words).upper() + "!"
        else:
            text = "\n".join(words).replace("a", "\u00e0")
        texts.append((source, text))
    return texts


def spaceless(c):
    return 0x3040 <= ord(c) <= 0x30FF or 0x4E00 <= ord(c) <= 0x9FFF or 0x0E00 <= ord(c) <= 0x0EFF


def words_of(text):
    """The normal form, from its three rules; a script without spaces gives a word a character."""
    words, current = [], ""

    def end():
        nonlocal current
        if current:
            words.append(current)
        current = ""

    i = 0
    while i < len(text):
        c = text[i]
        if c.isascii() and c.isdigit():
            while i < len(text) and (
                (text[i].isascii() and text[i].isdigit())
                or (text[i] in ".,'" and text[i + 1 : i + 2].isascii() and text[i + 1 : i + 2].isdigit())
            ):
                i += 1
            if not current.endswith("0"):
                current += "0"
            continue
        i += 1
        if spaceless(c) and c.isalnum():
            end()
            words.append(c)
            continue
        for part in unicodedata.normalize("NFD", c):
            if unicodedata.combining(part):
                continue
            if part.isnumeric() and unicodedata.category(part).startswith("N"):
                if not current.endswith("0"):
                    current += "0"
            elif part.isalnum():
                current += "".join(x for x in part.lower() if not unicodedata.combining(x))
            else:
                end()
    end()
    return words


def shingles(text):
    hashes = [struct.pack("<Q", xxhash.xxh3_64_intdigest(w.encode())) for w in words_of(text)]
    if not hashes:
        return set()
    runs = [hashes[i : i + NGRAM] for i in range(len(hashes) - NGRAM + 1)] or [hashes]
    return {xxhash.xxh3_64_intdigest(b"".join(run)) >> 32 for run in runs}


def band_hashes(found, bands=BANDS, rows=ROWS):
    functions = []
    for k in range(bands * rows):
        bits = xxhash.xxh3_64_intdigest(struct.pack("<Q", k), seed=SEED)
        functions.append(((bits & MASK32) | 1, bits >> 32))
    minima = [min((a * x + b) & MASK32 for x in found) for a, b in functions]
    return [
        xxhash.xxh3_64_intdigest(b"".join(struct.pack("<I", m) for m in minima[i * rows : (i + 1) * rows]))
        for i in range(bands)
    ]


def exact_key(text):
    """What exact deduplication compares: case and white space apart, equal."""
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()


def jaccard(a, b):
    return len(a & b) / len(a | b)


def main():
    identity = lambda text: hashlib.sha256(text.encode()).hexdigest()[:32]
    # Exact copies fall together first: the preferred source's, then the smallest id.
    rank = {"b": 0, "a": 1}
    first = {}
    for source, text in corpus():
        row = (rank[source], identity(text), source, text)
        key = exact_key(text)
        first[key] = min(first.get(key, row), row)
    rows = [(r, len(text.split()), identity_, source, shingles(text)) for r, identity_, source, text in first.values()]
    rows.sort(key=lambda row: (row[0], -row[1], row[2]))

    groups = defaultdict(list)
    for i, row in enumerate(rows):
        for band, value in enumerate(band_hashes(row[4])):
            groups[band, value].append(i)
    partners = defaultdict(set)
    for members in groups.values():
        for i in members:
            partners[i].update(members)
    kept, gone = set(), []
    for i, row in enumerate(rows):
        for other in sorted(j for j in partners[i] if j < i and j in kept):
            similarity = jaccard(row[4], rows[other][4])
            if similarity >= THRESHOLD:
                gone.append([row[2], rows[other][2], rows[other][3], int(similarity * 10_000 + 1e-9) / 10_000])
                break
        else:
            kept.add(i)

    # The truth: every pair, without a sketch.
    truth, lost, unjustified = 0, 0, 0
    removed = {entry[0] for entry in gone}
    for i in range(len(rows)):
        similar = [j for j in range(len(rows)) if j != i and jaccard(rows[i][4], rows[j][4]) >= THRESHOLD]
        unjustified += rows[i][2] in removed and not similar
        both_kept = [j for j in similar if i in kept and j in kept]
        truth += bool(similar)
        lost += bool(both_kept)
    forms = ["Perch\u00e9 NO? L'acqua costa 1.250,50 \u20ac.", "\u732b\u304c\u597d\u304d abc123", "\u03a9\u03bc\u03ad\u03b3\u03b1 stra\u00dfe \u0130 m\u00b3"]
    out = {
        "normal_forms": {text: " ".join(words_of(text)) for text in forms},
        "bands_of_1_2_3": [str(h) for h in band_hashes({1, 2, 3}, 2, 3)],
        "rows_after_exact_deduplication": len(rows),
        "gone": sorted(gone),
        "brute_force": {"rows_with_a_near_duplicate": truth, "left_beside_one": lost, "unjustified": unjustified},
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(len(rows), "rows,", len(gone), "gone;", out["brute_force"], out["bands_of_1_2_3"])


main()
