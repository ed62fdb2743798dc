"""Near-duplicates with other programs: what `just bench-dedup` measures `[dedup.near]` beside.

    python benches/peers/minhash.py datatrove IN OUT --workers 1
    python benches/peers/minhash.py rensa IN OUT

Both read every Parquet file of IN (columns `text`, `url`) and write what stays to OUT as Parquet with zstd, over runs of 5 words
and 14 bands of 8 hashes. datatrove takes its four steps, with a task a file; its candidates are not verified. rensa's R-MinHash
keeps a text unless the sketch of one before it is similar by 0.8 or more in one of its bands; the words are cut by Python.
"""

import argparse
import re
import shutil
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def datatrove(folder, out, workers):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.typeshelper import Languages

    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=14, hashes_per_bucket=8)
    files = len(list(folder.glob("*.parquet")))
    place = lambda name: str(out / name)
    reader = lambda: ParquetReader(str(folder), glob_pattern="*.parquet", text_key="text", id_key="url")
    steps = [
        ([reader(), MinhashDedupSignature(place("signatures"), config=config, language=Languages.italian)], files),
        ([MinhashDedupBuckets(place("signatures"), place("buckets"), config=config)], config.num_buckets),
        ([MinhashDedupCluster(place("buckets"), place("remove"), config=config)], 1),
        ([reader(), MinhashDedupFilter(place("remove")), ParquetWriter(place("data"), compression="zstd")], files),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        logs = place(f"logs-{number}")
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=logs, start_method="fork").run()
    return sum(pq.read_metadata(path).num_rows for path in (out / "data").glob("*.parquet"))


def words(text):
    bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return re.sub(r"\d+", "0", re.sub(r"[^\w\s]|_", " ", bare)).split()


def rensa(folder, out):
    import rensa as library

    index = library.RMinHashLSH(threshold=0.8, num_perm=112, num_bands=14)
    kept = 0
    (out / "data").mkdir(parents=True)
    sketches = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        stays = []
        for text in table["text"].to_pylist():
            cut = words(text)
            sketch = library.RMinHash(num_perm=112, seed=42)
            sketch.update([" ".join(cut[i : i + 5]) for i in range(max(1, len(cut) - 4))])
            near = any(sketch.jaccard(sketches[other]) >= 0.8 for other in index.query(sketch))
            stays.append(not near)
            if not near:
                index.insert(len(sketches), sketch)
                sketches.append(sketch)
        pq.write_table(table.filter(pa.array(stays)), out / "data" / path.name, compression="zstd")
        kept += sum(stays)
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["datatrove", "rensa"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    kept = datatrove(args.folder, args.out, args.workers) if args.peer == "datatrove" else rensa(args.folder, args.out)
    print(f"kept {kept}")


if __name__ == "__main__":
    main()
