"""Writes small files in every container that curation reads, and the rows that Python reads from them.

    pip install pyarrow==26.0.1 zstandard==0.25.0
    python tests/oracles/containers.py > tests/oracles/containers.json

CSV is read by `csv.DictReader`, JSON by `json`, Arrow by `pyarrow`, what is packed by `gzip`,
`bz2`, `lzma` and `zstandard`.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import struct

import pyarrow as pa
import zstandard

PEOPLE = [{"domanda": "Chi scrisse la Commedia?", "risposta": "Dante"}, {"domanda": "E «I promessi sposi»?", "risposta": "Manzoni"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in PEOPLE)


def table(name, data, keys=None, encoding="utf-8", separator=",", **options):
    """A CSV file's bytes, what a recipe says of it, and the rows of csv.DictReader."""
    rows = csv.DictReader(io.StringIO(data.decode(encoding), newline=""), delimiter=separator, **options)
    return {"file": name, "bytes": data.hex(), "keys": keys or {}, "rows": list(rows)}


def tables():
    quoted = 'text,label\r\n"Uno, due","a"\r\n"Dice ""ciao""",b\r\n"Su due\nrighe, e\r\ntre",c\r\n'
    yield table("comma.csv", "text,label\nUno,a\nDue,b\n".encode())
    yield table("quotes.csv", quoted.encode())
    yield table("no-last-newline.csv", b"text,label\nUno,a\nDue,b")
    yield table("old-mac.csv", b"text,label\rUno,a\rDue,b\r")
    yield table("empty-lines.csv", b"text,label\n\nUno,a\n\n\nDue,b\n\n")
    yield table("empty-fields.csv", b'text,label\n,\n"",a\nUno,\n')
    yield table("spaces.csv", b'text, label\n Uno , a \n"Due" , "b"\n')
    yield table("quote-inside.csv", b'text,label\n5" di legno,a\n"Uno"due,b\n')
    yield table("bom.csv", b"\xef\xbb\xbftext,label\nUno,a\n", encoding="utf-8-sig")
    yield table("quoted-header.csv", b'"il testo","l\netichetta"\nUno,a\n')
    yield table("semicolon.csv", "text;label\nUno, due;a\nDue, tre;b\n".encode(), separator=";")
    yield table("pipe.csv", b"text|label|n\nUno|a|1\nDue|b|2\n", separator="|")
    yield table("tab.csv", b"text\tlabel\nUno, due\ta\nTre\tb\n", separator="\t")
    yield table("one-tab.tsv", b"text\nUno, due; tre\nQuattro\n", separator="\t")
    yield table("told.csv", b"text#label\nUno#a\nDue, tre#b\n", {"separator": "#"}, separator="#")
    yield table("apostrophes.csv", b"text,label\n'Uno, due',a\n'L''altro',b\n", {"quote": "'"}, quotechar="'")
    yield table("no-quotes.tsv", b'text\tlabel\n"Uno\ta\nDue"\tb\n', {"quote": ""}, separator="\t", quoting=csv.QUOTE_NONE)
    yield table("no-header.csv", b"Uno,a\nDue,b\n", {"columns": ["text", "label"]}, fieldnames=["text", "label"])
    yield table("header-only.csv", b"text,label\n")
    accents = "text,label\nPerch\u00e9 no?,caff\u00e8 \u20ac\nCos\u00ec,\u201cvirgolette\u201d\n"
    yield table("windows.csv", accents.encode("cp1252"), {"encoding": "windows-1252"}, encoding="cp1252")
    yield table("utf16le.csv", accents.encode("utf-16"), encoding="utf-16")
    yield table("utf16be.csv", b"\xfe\xff" + accents.encode("utf-16-be"), encoding="utf-16")
    yield table("utf16-told.csv", accents.encode("utf-16-le"), {"encoding": "utf-16le"}, encoding="utf-16-le")
    gbk = "text,label\n\u4f60\u597d\uff0c\u4e16\u754c,a\n".encode("gbk")
    packed = {"file": "gbk.csv.gz", "bytes": gzip.compress(gbk, mtime=0).hex()}
    yield table("gbk.csv", gbk, {"encoding": "gbk"}, encoding="gbk") | packed
    many = "id,text\n" + "".join(f'{i},"Riga {i}:\n""{"x" * (i % 7)}"", fine"\n' for i in range(60))
    yield table("many.csv", many.encode())


def document(name, text, rows, keys=None):
    """A JSON file, what a recipe says of it, and the rows in it."""
    return {"file": name, "bytes": text.encode().hex(), "keys": keys or {}, "rows": rows}


def documents():
    rows = json.loads(json.dumps(PEOPLE))
    yield document("lines.jsonl", LINES, rows)
    yield document("array.json", json.dumps(rows), rows)
    yield document("pretty-array.json", json.dumps(rows, indent=2), rows)
    yield document("one-line-objects.json", "".join(json.dumps(row) for row in rows), rows)
    yield document("spaced-objects.json", " ".join(json.dumps(row) for row in rows), rows)
    yield document("jq.jsonl", "\n".join(json.dumps(row, indent=2) for row in rows) + "\n", rows)
    yield document("jq-tabs.jsonl", "\n\n".join(json.dumps(row, indent="\t") for row in rows), rows)
    yield document("one-row.json", json.dumps(rows[0]), rows[:1])
    yield document("one-pretty-row.json", json.dumps(rows[0], indent=0), rows[:1])
    yield document("row-of-lists.jsonl", json.dumps({"messages": [{"role": "user", "content": "Ciao"}]}), [{"messages": [{"role": "user", "content": "Ciao"}]}])
    nested = [{"domanda": "{ [ \"", "n": {"a": [1, {"b": "}"}]}}, {"domanda": "\\", "n": None}]
    yield document("brackets-in-texts.jsonl", "\n".join(json.dumps(row, indent=1) for row in nested), nested)
    for indent in (None, 2):
        outer = json.dumps({"version": "1", "skip": {"data": [1, {"data": []}]}, "data": rows, "after": [{"x": 1}]}, indent=indent)
        yield document(f"outer-{indent}.json", outer, json.loads(outer)["data"], {"field": "data"})
    escaped = '{"d\\u0061ta": ' + json.dumps(rows) + "}"
    yield document("escaped-key.json", escaped, json.loads(escaped)["data"], {"field": "data"})
    columns = {"domanda": [row["domanda"] for row in rows], "risposta": [row["risposta"] for row in rows], "voti": [[1, 2], None]}
    turned = [dict(zip(columns, values)) for values in zip(*columns.values())]
    for indent in (None, 1):
        yield document(f"columns-{indent}.json", json.dumps(columns, indent=indent), turned)
        yield document(f"inner-columns-{indent}.json", json.dumps({"v": 1, "data": columns}, indent=indent), turned, {"field": "data"})
    yield document("no-rows.json", "[]", [])
    yield document("no-rows-outer.json", '{"data": []}', [], {"field": "data"})
    yield document("no-rows-columns.json", '{"a": [], "b": []}', [])
    yield {**document("utf16.jsonl", LINES, rows), "bytes": LINES.encode("utf-16").hex()}
    sparse = "\n".join(["", "   "] + LINES.splitlines() + ["", ""])
    yield document("blank-lines.jsonl", sparse, rows)


def packed():
    half = LINES.index("\n") + 1
    a, b = LINES.encode()[:half], LINES.encode()[half:]
    split = LINES.encode()[: half + 9], LINES.encode()[half + 9 :]
    zst = lambda data, **options: zstandard.ZstdCompressor(level=3, **options).compress(data)
    # As pzstd writes it: the size of the frame that follows, in a frame that decoders skip.
    pzstd = lambda data: struct.pack("<III", 0x184D2A50, 4, len(zst(data))) + zst(data)
    for name, data in [
        ("members.jsonl.gz", gzip.compress(a, mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(b, mtime=0)),
        ("padded.jsonl.gz", gzip.compress(LINES.encode(), mtime=0) + bytes(700)),
        ("row-over-members.jsonl.gz", gzip.compress(split[0], mtime=0) + gzip.compress(split[1], mtime=0)),
        ("streams.jsonl.bz2", bz2.compress(split[0]) + bz2.compress(split[1])),
        ("streams.jsonl.xz", lzma.compress(split[0]) + lzma.compress(split[1])),
        ("sha256.jsonl.xz", lzma.compress(LINES.encode(), check=lzma.CHECK_SHA256)),
        ("frames.jsonl.zst", zst(split[0]) + zst(split[1], write_checksum=True, write_content_size=False)),
        ("pzstd.jsonl.zst", pzstd(split[0]) + pzstd(split[1]) + struct.pack("<II", 0x184D2A5E, 3) + b"end"),
        ("named-wrongly.jsonl", gzip.compress(LINES.encode(), mtime=0)),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0)),
        ("empty.json.zst", zst(b"[ ]")),
    ]:
        plain = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress}.get(data[:2])
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
        text = (plain(data) if plain else reader.readall()).decode()
        rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        yield {"file": name, "bytes": data.hex(), "keys": {}, "rows": rows}


def arrow():
    rows = [{"text": f"Riga {i} \u00e8", "n": i - 3, "x": i / 4, "yes": i % 2 == 0, "none": None} for i in range(6)]
    for row in rows:
        row["turns"] = [{"role": "user", "content": "c" * i, "tags": ["a"] * i} for i in range(row["n"] % 3)]
        row["kind"] = "abc"[row["n"] % 3]
        row["pair"] = [row["n"], None]
    rows[4] |= {"text": None, "turns": None, "kind": None, "pair": None}
    for text, many in [(pa.string(), pa.list_), (pa.large_string(), pa.large_list), (pa.string_view(), pa.list_)]:
        turn = pa.struct({"role": text, "content": text, "tags": many(text)})
        kind = pa.dictionary(pa.int8(), text) if text != pa.string_view() else text
        schema = pa.schema(
            {"text": text, "n": pa.int64(), "x": pa.float64(), "yes": pa.bool_(), "none": pa.null(), "turns": many(turn)}
            | {"kind": kind, "pair": pa.list_(pa.int32(), 2)}
        )
        whole = pa.Table.from_pylist(rows, schema=schema)
        for ending, writer in [("stream.arrow", pa.ipc.new_stream), ("file.feather", pa.ipc.new_file)]:
            for compression in [None, "lz4"] if text == pa.string() else [None]:
                sink = io.BytesIO()
                with writer(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as out:
                    out.write_table(whole, max_chunksize=3)
                data = sink.getvalue()
                read = pa.ipc.open_stream if ending == "stream.arrow" else pa.ipc.open_file
                name = f"{text}-{compression}-{ending}"
                yield {"file": name, "bytes": data.hex(), "keys": {}, "rows": read(data).read_all().to_pylist()}
    # A dictionary that grows from batch to batch.
    schema = pa.schema({"text": pa.dictionary(pa.int8(), pa.string())})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as out:
        for values in [["a"], ["a", "b"], ["a", "b", "c"]]:
            array = pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int8()), values)
            out.write_batch(pa.record_batch([array], schema=schema))
    data = sink.getvalue()
    yield {"file": "deltas.arrow", "bytes": data.hex(), "keys": {}, "rows": pa.ipc.open_stream(data).read_all().to_pylist()}
    sink = io.BytesIO()
    pa.ipc.new_stream(sink, schema).close()
    yield {"file": "no-rows.arrow", "bytes": sink.getvalue().hex(), "keys": {}, "rows": []}


def main():
    cases = [*tables(), *documents(), *packed(), *arrow()]
    print("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]")


if __name__ == "__main__":
    main()
