"""A small encoder in ONNX, and what sentence-transformers makes of texts by the model that it was exported from.

    python tests/oracles/semantic_onnx.py

in a virtual environment with torch, transformers, sentence-transformers, onnx and onnxruntime. Reads `semantic/bert`, which
`semantic.py` makes, draws other weights, and writes `semantic_onnx/model` (a folder as sentence-transformers leaves it, with `onnx/model.onnx` instead
of safetensors) and `semantic_onnx.json` beside itself.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer

HERE = Path(__file__).parent
FROM, TO = HERE / "semantic" / "bert", HERE / "semantic_onnx" / "model"


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


def main():
    whole = SentenceTransformer(str(FROM), device="cpu", model_kwargs={"attn_implementation": "eager"})
    torch.manual_seed(33)
    model = whole[0].auto_model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    shutil.rmtree(TO.parent, ignore_errors=True)
    (TO / "onnx").mkdir(parents=True)
    for file in FROM.rglob("*.json"):
        to = TO / file.relative_to(FROM)
        to.parent.mkdir(exist_ok=True)
        shutil.copy(file, to)
    tokens = torch.tensor([[2, 5, 9, 3]])
    names = ["input_ids", "attention_mask", "token_type_ids"]
    path = TO / "onnx" / "model.onnx"
    torch.onnx.export(
        Encoder(model), (tokens, torch.ones_like(tokens), torch.zeros_like(tokens)), str(path), input_names=names,
        output_names=["last_hidden_state"], dynamic_axes={name: {0: "texts", 1: "tokens"} for name in [*names, "last_hidden_state"]},
        opset_version=17, dynamo=False,
    )
    session = onnxruntime.InferenceSession(str(path))
    texts = [text for text in json.loads((HERE / "semantic.json").read_text())["texts"] if text.strip()]
    vectors = []
    for text in texts:
        vector = whole.encode([text])[0].astype(np.float64)
        vector /= np.linalg.norm(vector)
        # The export says what the model says.
        held = whole.tokenize([text]) if hasattr(whole, "tokenize") else whole.preprocess([text])
        given = {name: held.get(name, torch.zeros_like(held["input_ids"])).numpy() for name in names}
        pooled = session.run(None, given)[0][0].mean(axis=0)
        assert np.abs(pooled / np.linalg.norm(pooled) - vector).max() < 1e-5, text[:40]
        vectors.append([round(float(x), 7) for x in vector])
    (HERE / "semantic_onnx.json").write_text(json.dumps({"texts": texts, "vectors": vectors}, ensure_ascii=False) + "\n")
    print(len(texts), path.stat().st_size)


if __name__ == "__main__":
    main()
