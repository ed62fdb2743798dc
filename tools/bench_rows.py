"""Turns the unpacked packages of tools/bench-rows.sh into the files that its head lists: bench_rows.py PACKAGES OUT."""

import argparse
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

# The figures in BENCHMARKS.md were measured on so many rows, the first of each file.
FACTORY = {
    "alpaca.json": ("alpaca_en_demo.json", 800),
    "preference.json": ("dpo_en_demo.json", 200),
    "kto.json": ("kto_en_demo.json", 200),
    "english.jsonl": ("c4_demo.jsonl", 200),
}
LANGUAGES = ["de-DE", "el-GR", "en-US", "es-ES", "fr-FR", "it-IT", "nl-NL", "pl-PL", "pt-BR", "ro-RO"]
# A sentence ends at one of these, before a capital.
END = re.compile(r"(?<=[.!?]) +(?=[A-ZÀÈÉÌÒÙ])")


class Page(HTMLParser):
    """The text of a page, a line a block; menus, tables of contents and what is not read are left out."""

    BLOCKS = {"p", "pre", "li", "dt", "dd", "td", "th", "div", "h1", "h2", "h3", "h4", "h5", "h6"}
    SILENT = {"script", "style", "head"}
    SILENT_CLASSES = {"docnav", "toc", "navheader", "navfooter"}
    SILENT_IDS = {"banner", "title"}
    # These have no end tag.
    EMPTY = {"br", "hr", "img", "meta", "link", "input", "col"}

    def __init__(self):
        super().__init__()
        self.lines, self.words = [], []
        self.open = []  # whether each open element is silent

    def handle_starttag(self, tag, attrs):
        if tag in self.BLOCKS:
            self.end_line()
        if tag not in self.EMPTY:
            attrs = dict(attrs)
            classes = set((attrs.get("class") or "").split())
            silent = tag in self.SILENT or classes & self.SILENT_CLASSES or attrs.get("id") in self.SILENT_IDS
            self.open.append((tag, bool(silent)))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in self.BLOCKS:
            self.end_line()
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if not any(silent for _, silent in self.open):
            self.words.append(data)

    def end_line(self):
        line = " ".join("".join(self.words).split())
        if line:
            self.lines.append(line)
        self.words = []


def lines_of(file):
    page = Page()
    page.feed(file.read_text(encoding="utf-8"))
    page.end_line()
    return page.lines


def factory(folder, out):
    (data,) = folder.glob("llamafactory-*/data")
    for name, (source, count) in FACTORY.items():
        text = (data / source).read_text(encoding="utf-8")
        if name.endswith("l"):
            (out / name).write_text("\n".join(text.splitlines()[:count]) + "\n", encoding="utf-8")
        else:
            (out / name).write_text(json.dumps(json.loads(text)[:count], ensure_ascii=False, indent=1), encoding="utf-8")


def words(folder, out):
    (out / "words").mkdir()
    for language in ("it", "en"):
        entries = json.loads((folder / f"package/{language}.json").read_text(encoding="utf-8"))
        (out / "words" / language).write_text("\n".join(entries) + "\n", encoding="utf-8")


def handbook(folder, out):
    pages = folder / "usr/share/doc/debian-handbook/html"
    # mtime=0: the same pages give the same bytes.
    with (out / "handbook.jsonl.gz").open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        count = 0
        for language in LANGUAGES:
            for file in sorted((pages / language).glob("*.html")):
                row = {
                    "text": "\n".join(lines_of(file)),
                    "timestamp": "2022-09-22T00:00:00Z",
                    "url": f"https://handbook.example/{language}/{file.name}",
                    "lang": language.split("-")[0],
                }
                packed.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
                count += 1
    print(f"handbook.jsonl.gz: {count} pages")


def reference(folder):
    for file in sorted((folder / "usr/share/debian-reference").glob("*.it.html")):
        for line in lines_of(file):
            # A heading, a command or a cell of a table has no full stop, or few words.
            if line.endswith((".", "!", "?")):
                yield from (s for s in END.split(line) if 5 <= len(s.split()) <= 60)


def named(file):
    """Sentences of a file of plain lines, or of CoNLL-U."""
    lines = file.read_text(encoding="utf-8").splitlines()
    texts = [line.removeprefix("# text = ") for line in lines if line.startswith("# text = ")]
    return texts or [line for line in lines if line.strip()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=Path)
    args = parser.parse_args()
    factory(args.packages / "factory", args.out)
    words(args.packages / "words", args.out)
    handbook(args.packages / "handbook", args.out)
    sentences = list(dict.fromkeys(named(args.sentences) if args.sentences else reference(args.packages / "reference")))
    (args.out / "sentences.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    print(f"sentences.txt: {len(sentences)} sentences")


main()
