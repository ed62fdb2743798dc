#!/usr/bin/env python3
"""The measures of the rules of quality, from their definitions, and beside them those of datatrove itself.

    pip install datatrove==0.10.1 spacy==3.8.18 regex
    python tests/oracles/quality.py            # writes quality.json beside itself

A text is written as pieces: `t` `n` times, words of a formula (`w`, from one number to another), a page of
data/samples/src/mc4_raw_it.txt (`p`), all joined. What the papers say is computed here, from their words (`paper`); what datatrove
does by its own filters and spaCy's words (`datatrove`): the reason for which a text goes, and its measures.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.gopher_repetition_filter import find_all_duplicate, find_duplicates, find_top_duplicate, get_n_grams
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_words

HERE = Path(__file__).resolve().parent
PAGES = [page.split("\n", 1)[1].rstrip("\n") for page in
         (HERE / "../../data/samples/src/mc4_raw_it.txt").read_text(encoding="utf-8").split("@@ ")[1:]]
STOP_IT = [line for line in (HERE / "../../filters/lists/stop-words-it.txt").read_text(encoding="utf-8").splitlines()
           if not line.startswith("#")]
STOP_EN = ["the", "be", "to", "of", "and", "that", "have", "with"]


def word(i):
    """Six letters, another word for each number below 64,000."""
    consonants, vowels = "bcdfgl" "mnprst", "aeio"
    out = ""
    for _ in range(3):
        out += consonants[i % 12] + vowels[i // 12 % 4]
        i //= 48
    return out


def text_of(pieces):
    out = ""
    for piece in pieces:
        if "p" in piece:
            out += PAGES[piece["p"]]
        elif "w" in piece:
            out += " ".join(word(i) for i in range(*piece["w"]))
        else:
            out += piece["t"] * piece.get("n", 1)
    return out


# --- The papers' definitions, over words between white space, without the signs around them, in one form.

def form(text):
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.casefold())


def alnum(c):
    return c.isalpha() or unicodedata.category(c)[0] in "NM"


def tokens(text):
    return form(text).split()


def words(text):
    out = []
    for token in tokens(text):
        inner = [i for i, c in enumerate(token) if alnum(c)]
        if inner:
            out.append(token[inner[0]:inner[-1] + 1])
    return out


def share(part, whole):
    return part / whole if whole else 0.0


def lines_of(text):
    return [line.strip() for line in form(text).splitlines() if line.strip()]


BULLETS = "•‣▶◀◦■□▪▫–-*"


def quality_paper(text, stop_words):
    toks, ws = tokens(text), words(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    letters = lambda t: any(c.isalpha() for c in t)
    seen = set()
    for w in ws:
        w = w.replace("’", "'")
        seen.add(w)
        if "'" in w:
            seen.update((w[:w.index("'") + 1], w[w.index("'") + 1:]))
    return [
        len(toks), share(sum(map(len, ws)), len(ws)), share(text.count("#"), len(toks)),
        share(text.count("...") + text.count("…"), len(toks)),
        share(sum(line[0] in BULLETS for line in lines), len(lines)),
        share(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        share(sum(map(letters, toks)), len(toks)), len(seen & set(stop_words)),
    ]


def twice(parts):
    counts = Counter(parts)
    again = [part for part in parts if counts[part] > 1]
    return share(len(again), len(parts)), share(sum(map(len, again)), sum(map(len, parts)))


def grams(ws, n):
    return [tuple(ws[i:i + n]) for i in range(len(ws) - n + 1)]


def covered(ws, n, wanted):
    marked = set()
    for i, gram in enumerate(grams(ws, n)):
        if gram in wanted:
            marked.update(range(i, i + n))
    return share(sum(len(ws[i]) for i in marked), sum(map(len, ws)))


def repetition_ngrams(ws):
    out = []
    for n in (2, 3, 4):
        counts = Counter(grams(ws, n))
        best = counts.most_common(1)
        out.append(covered(ws, n, {best[0][0]}) if best and best[0][1] > 1 else 0.0)
    for n in range(5, 11):
        counts = Counter(grams(ws, n))
        out.append(covered(ws, n, {gram for gram, k in counts.items() if k > 1}))
    return out


def repetition_paper(text):
    paragraphs = [p.strip() for p in re.split(r"\n[^\S\n]*\n\s*", form(text)) if p.strip()]
    return [*twice(paragraphs), *twice(lines_of(text)), *repetition_ngrams(words(text))]


def fineweb_paper(text):
    lines = lines_of(text)
    marks = ".?!…:;\"'”’»)。！？"
    return [share(sum(line[-1] in marks for line in lines), len(lines)), share(sum(len(line) < 30 for line in lines), len(lines)),
            twice(lines)[1], share(text.count("\n"), len(tokens(text)))]


def redpajama(text):
    toks, ws, raw = tokens(text), words(text), text.split()
    counts = Counter(ws)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    entropy = -sum(k / len(ws) * math.log(k / len(ws)) for k in counts.values()) if ws else 0.0
    capital = lambda w: any(c.isupper() for c in w) and not any(c.islower() for c in w)
    return [
        len(ws), share(sum(map(len, ws)), len(ws)), share(len(counts), len(ws)), entropy,
        share(sum(w in STOP_IT for w in ws), len(ws)),
        share(text.count("#") + text.count("...") + text.count("…"), len(toks)),
        share(sum(not any(c.isalpha() for c in t) for t in toks), len(toks)), share(sum(map(capital, raw)), len(raw)),
        share(text.count("{") + text.count("}"), len(text)), share(form(text).count("lorem ipsum"), len(text)),
        share(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        share(sum(line[0] in "•‣▶◀◦■□▪▫–" for line in lines), len(lines)),
        share(sum(line[-1] in ".!?”" for line in lines), len(lines)),
        share(sum(c.isupper() for c in text), len(text)), share(sum(unicodedata.category(c)[0] == "N" for c in text), len(text)),
        *repetition_ngrams(ws),
    ]


PAPER = {
    "gopher_quality": [(50, 100_000), (3, 10), (None, .1), (None, .1), (None, .9), (None, .3), (.8, None), (2, None)],
    "gopher_repetition": [(None, b) for b in (.3, .2, .3, .2, .2, .18, .16, .15, .14, .13, .12, .11, .1)],
}


def first_out(values, bounds):
    for i, (value, (least, most)) in enumerate(zip(values, bounds)):
        if (least is not None and value < least) or (most is not None and value > most):
            return i
    return None


def fineweb_out(values):
    return next((i for i, out in enumerate((values[0] <= .12, values[1] >= .67, values[2] >= .1)) if out), None)


# --- datatrove's own, with the constants of FineWeb-2 for Italian.

ITALIAN = {
    "gopher_repetition": GopherRepetitionFilter(
        dup_line_frac=.246, dup_para_frac=0, dup_line_char_frac=0, dup_para_char_frac=0,
        top_n_grams=((2, .198), (3, .156), (4, .133)),
        dup_n_grams=((5, .144), (6, .136), (7, .127), (8, .118), (9, .109), (10, .1)), language="ita"),
    "fineweb": FineWebQualityFilter(line_punct_thr=.025, short_line_thr=999, char_duplicates_ratio=.1, new_line_ratio=.2, language="ita"),
    "gopher_quality": GopherQualityFilter(max_avg_word_length=21, max_non_alpha_words_ratio=.807, stop_words=STOP_IT, language="ita"),
}


def datatrove_measures(text):
    ws = split_into_words(text, "ita")
    no_signs = [w for w in ws if any(c not in PUNCTUATION_SET for c in w)]
    lines = text.splitlines()
    quality = [
        len(no_signs), float(np.mean([len(w) for w in no_signs])) if no_signs else 0, share(text.count("#"), len(ws)),
        share(text.count("...") + text.count("…"), len(ws)),
        share(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        share(sum(any(c.isalpha() for c in w) for w in ws), len(ws)), len(set(ws) & set(STOP_IT)),
    ]
    n, chars = find_duplicates(re.split(r"\n{2,}", text.strip()))
    repetition = [share(n, len(re.split(r"\n{2,}", text.strip()))), share(chars, len(text))]
    n, chars = find_duplicates(re.split(r"\n+", text))
    repetition += [share(n, len(re.split(r"\n+", text))), share(chars, len(text))]
    repetition += [share(find_top_duplicate(g), len(text)) if (g := get_n_grams(ws, n)) else 0 for n in (2, 3, 4)]
    repetition += [share(find_all_duplicate(ws, n), len(text)) for n in range(5, 11)]
    lines = [line for line in text.split("\n") if line.strip()]
    fineweb = [
        share(sum(line.endswith(tuple(TERMINAL_PUNCTUATION)) for line in lines), len(lines)),
        share(sum(len(line) <= 30 for line in lines), len(lines)),
        share(find_duplicates(lines)[1], len(text.replace("\n", ""))), share(text.count("\n"), len(ws)),
    ]
    return {"gopher_repetition": repetition, "fineweb": fineweb, "gopher_quality": quality}


def datatrove_out(text):
    out = []
    for rule, keep in ITALIAN.items():
        verdict = keep.filter(Document(text=text, id="0"))
        out.append(None if verdict is True else verdict[1])
    return out


# --- Texts: pages, pages that were changed, and one on each side of every bound and on it.

def cases():
    t = lambda text, n=1: {"t": text, "n": n}
    w = lambda a, b: {"w": [a, b]}
    stop = t("the of and di il la ")
    for i in range(len(PAGES)):
        yield [{"p": i}]
    for i in range(0, len(PAGES), 2):
        yield [{"p": i}, t("\n\n"), {"p": i}]
        yield [{"p": i}, t("\n- Leggi tutto...", 1 + i % 9)]
    for text in ("", " \n ", "#", "…", "PERCHÉ NO", "perche\u0301 no", "L'ACQUA DI MARE", "l’acqua di mare", "今日は天気がいい。\n今日は寒い。", "a\n\n\na\n \nb",
                 "ab c x a bc y ab c", "Straße STRASSE straße", "1 2 3 4 5 6 7 8 9 10", "{ } { }", "Lorem ipsum LOREM IPSUM", "«Sì.»\n“No”\nForse)\n"):
        yield [t(text)]
    for n in (42, 43, 44, 45):  # 50 words, six of them stop words
        yield [stop, w(0, n)]
    for n in (99_993, 99_994, 99_995):
        yield [stop, t("abcd ", n)]
    for long in ("abc", "ab", "abcdefghij", "abcdefghijk"):  # mean lengths on both sides of 3 and 10
        yield [t(f"{long} ", 60)]
        yield [t(f"{long} ", 60), stop]
    yield [t("abcdefghij ", 60), t("a" * 10)]
    for sign in ("#", "...", "…"):
        for n in (9, 10, 11):
            yield [stop, w(0, 94), t(f" x{sign}y", n), t(" ")]
            yield [stop, w(0, 94 - n), t(f" x{sign}y", n)]
    for n in (8, 9, 10):
        for bullet in ("•", "-", "*", "– "):
            yield [t(f"{bullet} uno due tre di il la\n", n), t("quattro cinque sei the of\n", 10 - n), t("x y z " * 3)]
            yield [t(f"{bullet} uno due tre di il la\n", n), t("quattro cinque sei the of\n", 10 - n)]
    for n in (2, 3, 4):
        for end in ("...", "…", " ... "):
            yield [t(f"uno due tre di il la{end}\n", n), t("quattro cinque sei the of\n", 10 - n)]
    for n in (39, 40, 41):  # of 200 words so many without a letter
        yield [stop, w(0, 194 - n), t(" 12", n)]
        yield [stop, w(0, 194 - n), t(" -", n)]
    for some in ("", "the ", "the of ", "the the ", "di ", "di il ", "di un'ora l'ora "):
        yield [t(some), w(0, 60)]
    # Lines and paragraphs: 3 of 10, and characters 20 of 100.
    for n in (2, 3, 4):
        for end in ("\n", "\n\n"):
            yield [t(f"uguale{end}", n)] + [t(f"{word(i)} {word(i + 100)} {word(i + 200)}.{end}") for i in range(10 - n)]
    for n in (79, 80, 81):
        for end in ("\n", "\n\n"):
            yield [t(f"dieci.lett{end}", 2), t("a" * (n // 4) + end), t("b" * (n // 4) + end), t("c" * (n // 4) + end), t("d" * (n - 3 * (n // 4)))]
    # Runs of words: n-gram `n`, so often, among so many words, at the bound, above and below.
    for n, often, total in ((2, 10, 100), (3, 6, 100), (4, 4, 100), (5, 3, 100), (6, 7, 300), (7, 13, 700), (8, 3, 200), (9, 11, 900), (10, 2, 200)):
        for more in (-1, 0, 1):
            run, rest = [w(0, n)], total + more - n * often
            pieces, at = [], 1000
            for k in range(often):
                step = rest // often + (k < rest % often)
                pieces += [*run, t(" "), w(at, at + step), t(" ")]
                at += step
            yield pieces
    # FineWeb: 3 of 25 lines end in a mark, two thirds are short, characters of duplicates.
    for n in (2, 3, 4):
        for mark in (".", "!", "»", "…", ":"):
            yield [t(f"una riga che finisce con un segno di il la{mark}\n", n)] + [t(f"una riga {word(i)} che non finisce e va avanti\n") for i in range(25 - n)]
    for n in (66, 67, 68):
        for length in (28, 29, 30):
            yield [piece for i in range(100) for piece in
                   (t((word(i) + " ") * 4 + "x" * (length - 29 + 1 + (0 if length > 27 else 0)) + ("." if i < n else " di il la coda lunga.") + "\n"),)]
    for n in (89, 90, 91):
        yield [t("cinque\n", 1), t("cinque"), t("\n"), t("z" * n + ".\n"), t("y" * 10 + "."), t("\n" * (n % 3))]
        yield [t("unodue.\nunodue.\n"), t("w" * (n + 36) + ".")]
    for n in (11, 12, 13):
        yield [t("\n".join(word(i) for i in range(n)) + "\n"), w(100, 148), t(" di il.")]


def short(value):
    value = round(value, 6)
    return int(value) if value == int(value) else value


def main():
    out = []
    for pieces in cases():
        text = text_of(pieces)
        quality, repetition, fineweb = quality_paper(text, STOP_EN), repetition_paper(text), fineweb_paper(text)
        spaceless = any("\u3040" <= c <= "\u9fff" for c in text)
        case = {"pieces": pieces, "paper": {
            "gopher_quality": [*map(short, quality), first_out(quality, PAPER["gopher_quality"])],
            "gopher_repetition": [*map(short, repetition), first_out(repetition, PAPER["gopher_repetition"])],
            "fineweb": [*map(short, fineweb), fineweb_out(fineweb)],
            "redpajama": [*map(short, redpajama(text))],
        }}
        if spaceless:
            continue
        if text.strip():
            measures = datatrove_measures(text)
            case["datatrove"] = {rule: [*map(short, measures[rule]), why] for rule, why in zip(ITALIAN, datatrove_out(text))}
        out.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
    (HERE / "quality.json").write_text("[\n" + ",\n".join(out) + "\n]\n", encoding="utf-8")
    print(len(out), "texts")


if __name__ == "__main__":
    main()
