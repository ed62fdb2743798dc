"""The floor under every pipeline: read Parquet, write the same columns as zstd, nothing else.

    python benches/peers/floor.py IN OUT
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq


def main(folder, out):
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.parquet")):
        source = pq.ParquetFile(path)
        with pq.ParquetWriter(out / path.name, source.schema_arrow, compression="zstd", compression_level=3) as sink:
            for group in range(source.num_row_groups):
                sink.write_table(source.read_row_group(group))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
