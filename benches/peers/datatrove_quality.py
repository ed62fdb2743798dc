"""datatrove's filters with FineWeb-2's constants for Italian, and its PII formatter: what `just bench-quality` measures ours beside.

    python benches/peers/datatrove_quality.py filters/lists < pages.jsonl

Reads JSON lines `{text}`, runs each filter alone over all of them, and prints a row of a Markdown table each: nanoseconds of processor
time a byte, megabytes a second, and rows kept. The words are spaCy's, cut anew by each filter, as datatrove's pipelines do. The PII
formatter masks e-mail and IP addresses, which are two of the eight kinds that `personal_data` looks for.
"""

import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.formatters import PIIFormatter


def main():
    lines = (Path(sys.argv[1]) / "stop-words-it.txt").read_text(encoding="utf-8").splitlines()
    stop_words = [line for line in lines if not line.startswith("#")]
    texts = [json.loads(line)["text"] for line in sys.stdin]
    filters = {
        "repetition": GopherRepetitionFilter(
            dup_line_frac=.246, dup_para_frac=0, dup_line_char_frac=0, dup_para_char_frac=0,
            top_n_grams=((2, .198), (3, .156), (4, .133)),
            dup_n_grams=((5, .144), (6, .136), (7, .127), (8, .118), (9, .109), (10, .1)), language="ita"),
        "fineweb": FineWebQualityFilter(
            line_punct_thr=.025, short_line_thr=999, char_duplicates_ratio=.1, new_line_ratio=.2, language="ita"),
        "quality": GopherQualityFilter(
            max_avg_word_length=21, max_non_alpha_words_ratio=.807, stop_words=stop_words, language="ita"),
    }
    size = sum(len(text.encode()) for text in texts)
    masks = PIIFormatter()
    keeps = {name: lambda text, keep=keep: keep.filter(Document(text=text, id="0")) is True for name, keep in filters.items()}
    # As a pipeline would run them: a text that goes is not looked at again.
    keeps["the three in order"] = lambda text: all(keep(text) for keep in list(keeps.values())[:3])
    keeps["PII formatter"] = lambda text: masks.format(text) is not None
    for name, keep in keeps.items():
        # The first call loads what it needs.
        keep(texts[0])
        began = time.process_time()
        kept = sum(keep(text) for text in texts)
        nanoseconds = (time.process_time() - began) * 1e9 / size
        print(f"| datatrove, {name} | {nanoseconds:.2f} | {1e3 / nanoseconds:.1f} | {kept} of {len(texts)} |")


if __name__ == "__main__":
    main()
