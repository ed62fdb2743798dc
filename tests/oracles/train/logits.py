"""Logits of every formula model (fixture.py) by transformers, each document alone.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/logits.py

Writes logits.json:
    documents            [[ids]]
    variants.NAME
        config           config.json as this transformers writes it (RoPE under `rope_parameters`)
        f32, f64         a list over documents of {first, last}: the logits [96] of the first and the last token.
                         f64 is the f32 weights in f64, transformers' own code, which still computes norms, softmax
                         and rotary tables in f32: good to about 1e-6.
        nll              mean of -log p(next token) over each document, f64
        lora             document 0 with LoRA r 4, alpha 8 by formula (B not zero), {f32: {first, last}, f64: {...}}
        rotary           inverse frequencies [8], f32
Nine significant digits.
"""

import json

import torch
import torch.nn.functional as F
from fixture import VARIANTS, documents, model, number, numbers, with_lora, write


def first_last(logits):
    return {"first": numbers(logits[0]), "last": numbers(logits[-1])}


@torch.no_grad()
def run(built, ids):
    return built(input_ids=torch.tensor([ids])).logits[0]


def main():
    docs, variants = documents(), {}
    for name in VARIANTS:
        built = model(name)
        rotary = numbers(built.model.rotary_emb.inv_freq)
        config = json.loads(built.config.to_json_string(use_diff=False))
        keep = [
            "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps", "rope_parameters",
            "max_position_embeddings", "tie_word_embeddings", "attention_bias", "mlp_bias", "sliding_window",
            "use_sliding_window", "bos_token_id", "eos_token_id",
        ]  # fmt: skip
        out = {"config": {k: config[k] for k in keep if k in config}, "rotary": rotary}
        out["config"]["architectures"] = [type(built).__name__]
        out["f32"] = [first_last(run(built, ids)) for ids in docs]
        # built again in between, so that the f32 rotary tables are not rounded twice
        wide = model(name).double()
        logits = [run(wide, ids) for ids in docs]
        out["f64"] = [first_last(x) for x in logits]
        out["nll"] = [
            number(F.cross_entropy(x[:-1], torch.tensor(ids[1:])), 12) for x, ids in zip(logits, docs, strict=True)
        ]
        for x, y in zip(out["f32"], out["f64"], strict=True):
            for k in x:
                assert (torch.tensor(x[k]) - torch.tensor(y[k])).abs().max() < 1e-5
        with_f32, with_f64 = with_lora(model(name), 4, 8), with_lora(model(name), 4, 8).double()
        out["lora"] = {"f32": first_last(run(with_f32, docs[0])), "f64": first_last(run(with_f64, docs[0]))}
        assert (run(with_f32, docs[0]) - logits[0]).abs().max() > 0.05, "the adapter is attached"
        variants[name] = out
    write(__file__, {"documents": docs, "variants": variants})


if __name__ == "__main__":
    main()
