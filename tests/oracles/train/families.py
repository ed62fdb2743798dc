"""Every family of models by transformers, PyTorch's autograd, PEFT and TRL: formula models (fixture.py) of each.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/families.py [VARIANT ...]

Vocabulary 96, hidden 64, intermediate 160, 4 heads, 2 key-value heads of 16, 2 or 4 layers; windows of 4 tokens and rotary
embeddings first trained with 8 positions, so that the documents of 11 and 7 tokens reach beyond one and not the other. Weights by
the formula of fixture.py, whatever the family adds to those of norms.

Writes families.json; where variants are named, the others keep what it says. variants.NAME:
    config      config.json as transformers saves it
    logits      a list over documents: logits [96] of the last token, f32
    nll         mean of -log p(next token) over each document, f64
    greedy      the eight most probable tokens after document 0, one by one, with transformers' cache
    loss        of both documents, each alone, a token being a target unless it is among the first 3; f64
    lora        {"MODULE.lora_A": [norm, sum, g0 .. g5], ...}: gradients of that loss with an adapter of r 4, alpha 8 by formula
                (B not zero) on every linear layer, f64; g_j is element (row-major) bits(key(4, name), j) % n
    lora_loss   the loss with it
    whole       {NAME: [norm, sum, g0, g1], ...}: the gradients of the weights, without the adapter
    sft         the first five steps of TRL's SFTTrainer as sft.py's batch1x8 takes them: loss, grad_norm (not of `dynamic`)
f64 is transformers' own code with every step down to f32 taken out. Twelve significant digits.

Experts are named as published files have them, a matrix each, which transformers 5 joins to two tensors a layer. So `lora`, `whole`
and `sft` are of the same model with its experts taken apart (class Apart), whose logits are checked to be those of transformers'
own; the loss that balances experts (`router_aux_loss_coef`, which TRL adds unless it is 0) is off.
"""

import contextlib
import functools
import json
import sys

import torch
import torch.nn.functional as F
import transformers as T
from common import HERE, bits, key
from fixture import VOCAB, documents, fill_lora, module_name, number, numbers, weight, write
from peft import LoraConfig, get_peft_model
from peft.utils import transformers_weight_conversion
from sft import ROWS, blank_tokenizer, row, train

torch.set_num_threads(1)
# Experts are matrices here, which PEFT would take for transformers' joined ones by the family's name.
transformers_weight_conversion._MOE_TARGET_MODULE_MAPPING.clear()
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
APART = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SAMPLED, IGNORED = 4, 3
DOCS = documents()
SHAPE = dict(
    vocab_size=VOCAB, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, rms_norm_eps=1e-5, max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
    pad_token_id=0, tie_word_embeddings=False,
)  # fmt: skip


def rope(kind="default", theta=10000.0, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def config(make, **more):
    return lambda: make(**{**SHAPE, "rope_parameters": rope(), **more})


SLIDING, FULL = "sliding_attention", "full_attention"
LONG = dict(
    short_factor=[1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0], long_factor=[1.0, 1.5, 2.5, 4.0, 8.0, 12.0, 14.0, 16.0],
    original_max_position_embeddings=8,
)  # fmt: skip
SIX = {name: value[:6] for name, value in LONG.items() if name.endswith("factor")}
VARIANTS = {
    "qwen3": config(T.Qwen3Config, head_dim=16),
    "qwen3-window": config(
        T.Qwen3Config, head_dim=16, attention_bias=True, use_sliding_window=True, sliding_window=4, max_window_layers=1
    ),
    "smollm3": config(T.SmolLM3Config, num_hidden_layers=4, tie_word_embeddings=True),
    "smollm3-window": config(
        T.SmolLM3Config, no_rope_layers=[0, 1], attention_bias=True, mlp_bias=True, use_sliding_window=True,
        sliding_window=4,
    ),  # fmt: skip
    "granite": config(
        T.GraniteConfig, embedding_multiplier=12.0, attention_multiplier=0.1, residual_multiplier=0.22,
        logits_scaling=8.0, tie_word_embeddings=True,
    ),  # fmt: skip
    "granite-bias": config(
        T.GraniteConfig, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.5,
        logits_scaling=2.0, attention_bias=True, mlp_bias=True,
    ),  # fmt: skip
    "olmo2": config(T.Olmo2Config),
    "phi3": config(T.Phi3Config, sliding_window=4),
    "phi4-mini": config(
        T.Phi3Config, original_max_position_embeddings=8, tie_word_embeddings=True,
        rope_parameters=rope("longrope", partial_rotary_factor=0.75, **SIX),
    ),  # fmt: skip
    "gemma2": config(
        T.Gemma2Config, head_dim=16, sliding_window=4, query_pre_attn_scalar=24, attn_logit_softcapping=5.0,
        final_logit_softcapping=10.0, tie_word_embeddings=True,
    ),  # fmt: skip
    "gemma3": config(
        T.Gemma3TextConfig, num_hidden_layers=4, head_dim=16, sliding_window=4, query_pre_attn_scalar=16,
        layer_types=[SLIDING, FULL, SLIDING, SLIDING], tie_word_embeddings=True,
        rope_parameters={SLIDING: rope(), FULL: rope("linear", 100000.0, factor=8.0)},
    ),  # fmt: skip
    "mistral-window": config(T.MistralConfig, head_dim=16, sliding_window=4),
    "ministral": config(T.MinistralConfig, head_dim=16, sliding_window=4, layer_types=[SLIDING, FULL]),
    "llama-bias": config(T.LlamaConfig, head_dim=16, attention_bias=True, mlp_bias=True),
    "llama32": config(
        T.LlamaConfig, head_dim=16, tie_word_embeddings=True,
        rope_parameters=rope(
            "llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
        ),
    ),  # fmt: skip
    "yarn": config(
        T.LlamaConfig, head_dim=16, rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32)
    ),
    "dynamic": config(
        T.LlamaConfig, head_dim=16, max_position_embeddings=8, rope_parameters=rope("dynamic", factor=2.0)
    ),
    "longrope": config(T.LlamaConfig, head_dim=16, rope_parameters=rope("longrope", **LONG)),
    "mixtral": config(
        T.MixtralConfig, head_dim=16, intermediate_size=96, num_local_experts=5, num_experts_per_tok=2,
        router_aux_loss_coef=0.0,
    ),  # fmt: skip
    "mixtral-window": config(
        T.MixtralConfig, head_dim=16, intermediate_size=48, num_local_experts=4, num_experts_per_tok=1, sliding_window=4,
        router_aux_loss_coef=0.0,
    ),  # fmt: skip
    "qwen3-moe": config(
        T.Qwen3MoeConfig, head_dim=16, moe_intermediate_size=48, num_experts=6, num_experts_per_tok=3, norm_topk_prob=True,
        router_aux_loss_coef=0.0,
    ),  # fmt: skip
    "qwen3-moe-some": config(
        T.Qwen3MoeConfig, num_hidden_layers=4, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2,
        attention_bias=True, decoder_sparse_step=2, mlp_only_layers=[3], router_aux_loss_coef=0.0,
    ),  # fmt: skip
}
EXPERTS = {"mixtral": ("block_sparse_moe", ["w1", "w3", "w2"]), "qwen3_moe": ("mlp", ["gate_proj", "up_proj", "down_proj"])}


def published(config, name):
    """What published files call a module or a parameter that is no expert's."""
    block, _ = EXPERTS.get(config.model_type, ("mlp", []))
    return name.replace(".mlp.", f".{block}.")


def of_experts(config, own, shape):
    """The weights of all experts of a layer, as transformers joins them."""
    at, last = published(config, own).rsplit(".", 1)
    gate, up, down = EXPERTS[config.model_type][1]
    count, out, input = shape
    parts = [(down, out)] if last == "down_proj" else [(gate, out // 2), (up, out // 2)]
    each = [[weight(f"{at}.{e}.{part}.weight", (rows, input)) for part, rows in parts] for e in range(count)]
    return torch.stack([torch.cat(expert) for expert in each])


class Apart(torch.nn.Module):
    """Experts of a matrix each; what it computes is what transformers' joined ones do."""

    def __init__(self, joined, names):
        super().__init__()
        self.names, self.activate = names, (joined.act_fn,)
        for e, (both, down) in enumerate(zip(joined.gate_up_proj, joined.down_proj, strict=True)):
            expert = torch.nn.Module()
            for name, value in zip(names, [*both.chunk(2), down], strict=True):
                linear = torch.nn.Linear(value.shape[1], value.shape[0], bias=False, dtype=value.dtype)
                linear.weight = torch.nn.Parameter(value.detach().clone(), requires_grad=False)
                setattr(expert, name, linear)
            self.add_module(str(e), expert)

    def forward(self, hidden_states, top_k_index, top_k_weights):
        out = torch.zeros_like(hidden_states)
        for e, expert in self.named_children():
            token, place = torch.where(top_k_index == int(e))
            gate, up, down = (getattr(expert, name) for name in self.names)
            x = hidden_states[token]
            made = down(self.activate[0](gate(x)) * up(x)) * top_k_weights[token, place, None]
            out = out.index_add(0, token, made)
        return out


def apart(built):
    """A model whose experts, if it has any, are a matrix each."""
    layers = [layer.mlp for layer in built.model.layers if hasattr(layer.mlp, "experts")]
    ids = torch.tensor([DOCS[0]])
    with torch.no_grad():
        before = built(input_ids=ids).logits
        for mlp in layers:
            mlp.experts = Apart(mlp.experts, EXPERTS[built.config.model_type][1])
        assert (built(input_ids=ids).logits - before).abs().max() < 1e-5
    return built


def model(name):
    """A variant in f32, frozen."""
    made = VARIANTS[name]()
    made._attn_implementation = "eager"
    made._experts_implementation = "eager"  # the other has no f64
    built = T.AutoModelForCausalLM.from_config(made, attn_implementation="eager").float().eval().requires_grad_(False)
    with torch.no_grad():
        for own, tensor in built.named_parameters():
            shape = tuple(tensor.shape)
            is_joined = ".experts." in own
            tensor.copy_(of_experts(made, own, shape) if is_joined else weight(published(made, own), shape))
    return built


def linears(name):
    _, of_experts = EXPERTS.get(VARIANTS[name]().model_type, ("", []))
    if name.startswith("phi"):
        return FUSED
    return sorted({*APART[:4], *of_experts}) if of_experts else APART


def fill(peft, *, zero_b):
    """A and B by formula, by the names of published files."""
    config = peft.config
    if config.model_type not in EXPERTS:
        return fill_lora(peft, zero_b=zero_b)
    count = sum(".lora_" in name for name, _ in peft.named_parameters()) / config.num_hidden_layers
    assert count > 14, count
    return fill_lora(peft, zero_b=zero_b, own=functools.partial(published, config), known=(count,))


def with_lora(name):
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=linears(name), task_type="CAUSAL_LM")
    peft = get_peft_model(apart(model(name)), config)
    fill(peft, zero_b=False)
    return peft


@contextlib.contextmanager
def in_f64():
    """Inside, nothing that is in f64 goes down to f32: norms, softmax and the tables of the rotary embedding do otherwise."""
    to, single, softmax = torch.Tensor.to, torch.Tensor.float, F.softmax

    def keep_to(self, *args, **kwargs):
        if self.dtype == torch.float64:
            args = tuple(a for a in args if a is not torch.float32)
            kwargs = {k: v for k, v in kwargs.items() if v is not torch.float32}
            if not args and not kwargs:
                return self
        return to(self, *args, **kwargs)

    def keep_softmax(x, dim=None, _stacklevel=3, dtype=None):
        return softmax(x, dim=dim, dtype=None if x.dtype == torch.float64 else dtype)

    torch.Tensor.to, F.softmax = keep_to, keep_softmax
    torch.Tensor.float = lambda self, *a, **k: self if self.dtype == torch.float64 else single(self, *a, **k)
    try:
        yield
    finally:
        torch.Tensor.to, torch.Tensor.float, F.softmax = to, single, softmax


def loss_of(built):
    """Each document alone."""
    total, targets = 0.0, 0
    for doc in DOCS:
        logits = built(input_ids=torch.tensor([doc])).logits[0]
        labels = torch.tensor(doc[IGNORED:])
        total += F.cross_entropy(logits[IGNORED - 1 : -1], labels, reduction="sum")
        targets += len(labels)
    return total / targets


def sampled(name, g, n):
    flat = g.flatten()
    at = [int(b) % flat.numel() for b in bits(key(SAMPLED, name), n)]
    return [number(x, 12) for x in [g.norm(), g.sum(), *flat[at]]]


def gradients(built, own, n):
    with in_f64():
        loss = loss_of(built)
    assert loss.dtype == torch.float64
    named = [(own(name), p) for name, p in built.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [p for _, p in named])
    return number(loss, 15), {name: sampled(name, g, n) for (name, _), g in zip(named, found, strict=True)}


def of_adapter(config, name):
    return f"{published(config, module_name(name))}.{'lora_A' if '.lora_A.' in name else 'lora_B'}"


def variant(name):
    built = model(name)
    saved = json.loads(built.config.to_json_string())
    for mine in ("transformers_version", "_attn_implementation", "_experts_implementation"):
        saved.pop(mine, None)
    saved["architectures"] = [type(built).__name__]
    out = {"config": saved}
    with torch.no_grad():
        out["logits"] = [numbers(built(input_ids=torch.tensor([d])).logits[0, -1]) for d in DOCS]
        ids = torch.tensor([DOCS[0]])
        written = built.generate(ids, do_sample=False, max_new_tokens=8, eos_token_id=None, pad_token_id=0)
        out["greedy"] = written[0, ids.shape[1] :].tolist()
        wide = model(name).double()
        with in_f64():
            nll = [F.cross_entropy(wide(input_ids=torch.tensor([d])).logits[0, :-1], torch.tensor(d[1:])) for d in DOCS]
        out["nll"] = [number(x, 12) for x in nll]
    rough = loss_of(model(name)).item()
    out["loss"], out["whole"] = gradients(
        apart(model(name)).double().requires_grad_(True), functools.partial(published, built.config), 2
    )
    assert abs(rough - out["loss"]) < 2e-5, (rough, out["loss"])
    out["lora_loss"], out["lora"] = gradients(with_lora(name).double(), functools.partial(of_adapter, built.config), 6)
    if name == "dynamic":  # transformers keeps the frequencies of the longest row so far
        return out
    rows, tokenizer = [row(r) for r in range(ROWS)], blank_tokenizer(VOCAB)
    taken = train(
        apart(model(name)), rows, tokenizer, batch=1, accumulation=8, stop=5, linears=linears(name), fill=fill
    )
    out["sft"] = {field: taken[field] for field in ("loss", "grad_norm")}
    print(name, out["loss"], out["lora_loss"], out["sft"]["loss"])
    return out


def main():
    path = HERE / "families.json"
    named = sys.argv[1:]
    found = json.loads(path.read_text(encoding="utf-8"))["variants"] if named and path.exists() else {}
    for name in named or VARIANTS:
        found[name] = variant(name)
        write(__file__, {"variants": {name: found[name] for name in VARIANTS if name in found}})


if __name__ == "__main__":
    main()
