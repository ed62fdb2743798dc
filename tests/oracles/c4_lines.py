"""What the line rules of clean_mc4_it make of lines of our own, in Python, whose strings and patterns they were written for.

    python3 tests/oracles/c4_lines.py > tests/oracles/c4_lines.json
    python3 tests/oracles/c4_lines.py PAGES.jsonl > /tmp/pages.json    the same of pages {text} of one's own

The rules, in their order, are those of C4's public code with the constants of clean_mc4_it: a word of more than 1,000
characters; marks of notes are deleted; a line ends in `.`, `?`, `!` or `"` and not in `...`; three words; `lorem ipsum`
(the document goes); `javascript`; `{` (the document goes); phrases of policies. Each page is {text, left}: what is left of
it, or null if the document goes.
"""

import json
import re
import sys

MARKS = re.compile(r"\[(?:\d*|edit|citation needed)\]")
POLICIES = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"]

BODIES = [
    "La città fu fondata dai Romani",
    "Il mercato[12] si tiene nella piazza",
    "La città[] fu fondata dai Romani",
    "[3] Vedi anche la voce sul mercato",
    "Storia del paese[edit]",
    "Storia del paese [Edit] e dintorni",
    "Nacque a Bari[citation needed] nel 1920",
    "Nacque a Bari[Citation needed] nel 1920",
    "Due note[1][2] vicine",
    "Anno [١٢] e [१] del calendario",
    "Non è un mark [ 1] né [1 ] né [1a] né [sic]",
    "Un vettore a[i] e uno b[[4]]",
    "Parola sola[7]",
    "[8]",
    "Due parole",
    "Fonti [12] varie",
    "Una\u00a0due\u2003tre",
    "Una\u200bdue tre",
    "Con javascript attivo si vede meglio",
    "Con JavaScript attivo si vede meglio",
    "Leggi la nostra privacy policy qui",
    "Leggi la nostra Cookie Policy[9] qui",
    "This site uses  cookies now",
    "This site use[1] cookies now",
    "Il prezzo è di 3,50 €",
]
ENDINGS = [
    ".", "", "?", "!", '"', "...", "..", "…", "»", "”", "'", ".)", ";", ". [12]", ".[12]", " [12].", ".[edit]", ".[Edit]", ". ", ".\u00a0",
    ".\u200b", ".\u001f", "....", ". [3]...", "?!", '."',
]
PAGES = [
    "Prima riga buona del testo.\r\nSeconda riga buona del testo.",
    "Prima riga buona del testo.\u2028Seconda riga buona del testo.\x0bTerza riga buona del testo.",
    "[1] Prima riga buona del testo.\n[2] Seconda riga buona del testo.",
    "Prima riga buona del testo.\nLorem ipsum dolor sit amet.",
    "Prima riga buona del testo.\nLorem ipsum dolor sit amet",
    "Prima riga buona del testo.\nLorem ip[1]sum dolor sit amet.",
    "Prima riga buona del testo.\nUna riga con { e basta.",
    "Prima riga buona del testo.\nUna riga con javascript { e basta.",
    "Prima riga buona del testo.\nUna riga con { senza punto",
    "x" * 1001 + " è lungo davvero.\n" + "è" * 1000 + " non lo è.",
    "x" * 600 + "\x1f" + "x" * 600 + " sono due parole.",
    "  \n\t\n Prima riga buona del testo. \n\n\x1f\n",
    "",
]


def left(text):
    lines = []
    for line in text.splitlines():
        line = line.strip()
        if any(len(word) > 1000 for word in line.split()):
            continue
        line = MARKS.sub("", line)
        if line.endswith("...") or not line.endswith((".", "?", "!", '"')):
            continue
        if len(line.split()) < 3:
            continue
        small = line.lower()
        if "lorem ipsum" in small:
            return None
        if "javascript" in small:
            continue
        if "{" in line:
            return None
        if any(phrase in small for phrase in POLICIES):
            continue
        lines.append(line)
    return "\n".join(lines).strip()


def main():
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as rows:
            pages = [json.loads(row)["text"] for row in rows]
    else:
        pages = PAGES + [body + ending for body in BODIES for ending in ENDINGS]
    print(json.dumps([{"text": page, "left": left(page)} for page in pages], ensure_ascii=True, indent=0))


if __name__ == "__main__":
    main()
