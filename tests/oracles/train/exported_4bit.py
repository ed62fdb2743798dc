"""A folder of `setaccio export --to bnb-4bit` in transformers with bitsandbytes, beside the model it was made of.

    setaccio export MODEL --to bnb-4bit --out FOUR
    python tests/oracles/train/exported_4bit.py MODEL FOUR

Checks that nothing is missing or left over, that every linear layer of the blocks is in 4 bits and nothing else is,
and that each is the NF4 that bitsandbytes itself makes of MODEL's weight: the same bytes and, dequantised, the same
numbers. Writes nothing; prints how far the logits of the two models are apart.
"""

import sys

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM, AutoTokenizer

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TEXT = "Perché il cielo è blu? Nel mezzo del cammin di nostra vita"


def main(whole, four):
    torch.set_num_threads(2)
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (whole, four)]
    ids, again = (tokenizer(TEXT, return_tensors="pt").input_ids for tokenizer in tokenizers)
    assert torch.equal(ids, again), "the tokenizer is another"
    assert tokenizers[0].chat_template == tokenizers[1].chat_template
    plain = AutoModelForCausalLM.from_pretrained(whole, dtype="auto")
    packed, info = AutoModelForCausalLM.from_pretrained(four, dtype="auto", output_loading_info=True)
    assert not any(info.values()), info
    seen = 0
    for name, module in packed.named_modules():
        linear = name.rsplit(".", 1)[-1] in LINEARS
        assert isinstance(module, Linear4bit) == linear, name
        if linear:
            state, weight = module.weight.quant_state, plain.get_submodule(name).weight.data
            want, theirs = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
            assert torch.equal(module.weight.data.flatten(), want.flatten()), f"{name}: other codes"
            numbers = dequantize_4bit(module.weight.data, state), dequantize_4bit(want, theirs)
            assert torch.equal(*numbers), f"{name}: other numbers"
            seen += 1
    with torch.no_grad():
        a, b = (model(ids).logits.float() for model in (plain, packed))
    assert torch.isfinite(b).all()
    print(f"{seen} layers are bitsandbytes' own; logits up to {(a - b).abs().max():.3g} apart, of {a.abs().max():.3g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
