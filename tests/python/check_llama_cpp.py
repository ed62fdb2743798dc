"""A person's way from a folder of chats to a model in llama.cpp, in four commands.

    python tests/python/check_llama_cpp.py SETACCIO

SETACCIO is the program. A small model of Qwen 3's shape is made here (random weights, norms of heads, Qwen's way of cutting
texts, a chat template), then one of Qwen 3's with experts, and a folder of chats; then, of each,

    setaccio train CHATS --model QWEN3 --out RUN
    setaccio merge RUN
    setaccio export RUN --quant f32
    a llama.cpp server on RUN/export/chats-F32.gguf

llama.cpp puts questions into the template that the file holds, cuts them into tokens and answers, the most probable token each
time. The answers must be those of `setaccio generate RUN`, the ids of chats those that the run learned, and a model that was
not trained must say something else. Exits 1 at the first thing that is not as expected.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import xllamacpp
from safetensors.numpy import save_file

HIDDEN, INNER, LAYERS, HEADS, KV, WIDE = 64, 128, 3, 4, 2, 24
EXPERTS, CHOSEN = 6, 2
TOKENS = 24
CITIES = ["Bari", "Torino", "Napoli", "Genova", "Trieste", "Cagliari", "Palermo", "Ancona"]
ASKED = ["Che tempo fa a Torino?", "Che tempo fa a Bari?", "Quanti treni partono da Genova?", "Che cosa c'è a Napoli?"]
# How Qwen 2 and 3 cut a text: one digit a piece.
CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def write_chats(folder):
    folder.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        lines = []
        for i in range(60):
            city = CITIES[i % len(CITIES)]
            question = [f"Che tempo fa a {city}?", f"Quanti treni partono da {city}?", f"Che cosa c'è a {city}?"][i % 3]
            answer = [f"A {city} è sereno.", f"Da {city} ne partono {i % 8 + 2}.", f"A {city} c'è il mare."][i % 3]
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": f"{answer} ({name}, {i})"}]
            lines.append(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
        (folder / name).write_text("".join(lines), encoding="utf-8")


def write_model(folder, tiny, experts):
    """A Qwen 3, with experts or without, with the tokenizer of the folder `tiny`, which then cuts as Qwen's do."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tiny / name).exists():
            (folder / name).write_bytes((tiny / name).read_bytes())
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "NFC"}
    tokenizer["model"]["ignore_merges"] = False
    [split] = [part for part in tokenizer["pre_tokenizer"]["pretokenizers"] if part["type"] == "Split"]
    split["pattern"] = {"Regex": CUT}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
    vocab = config["vocab_size"]
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": vocab, "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV,
        "head_dim": WIDE, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "max_position_embeddings": 1024,
        "attention_bias": False, "tie_word_embeddings": True, "torch_dtype": "float32",
        "bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"],
    }  # fmt: skip
    if experts:
        config |= {
            "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": EXPERTS,
            "num_experts_per_tok": CHOSEN, "moe_intermediate_size": INNER, "norm_topk_prob": True, "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    random = np.random.default_rng(17)
    made = {}

    def matrix(name, *shape):
        made[f"model.{name}.weight"] = (random.standard_normal(shape) * 0.08).astype(np.float32)

    def norm(name, width):
        made[f"model.{name}.weight"] = (1 + 0.1 * random.standard_normal(width)).astype(np.float32)

    matrix("embed_tokens", vocab, HIDDEN)
    norm("norm", HIDDEN)
    for i in range(LAYERS):
        at = f"layers.{i}"
        norm(f"{at}.input_layernorm", HIDDEN)
        norm(f"{at}.post_attention_layernorm", HIDDEN)
        norm(f"{at}.self_attn.q_norm", WIDE)
        norm(f"{at}.self_attn.k_norm", WIDE)
        for part, rows, columns in (("q", HEADS * WIDE, HIDDEN), ("k", KV * WIDE, HIDDEN), ("v", KV * WIDE, HIDDEN),
                                    ("o", HIDDEN, HEADS * WIDE)):  # fmt: skip
            matrix(f"{at}.self_attn.{part}_proj", rows, columns)
        if experts:
            matrix(f"{at}.mlp.gate", EXPERTS, HIDDEN)
        for mlp in [f"mlp.experts.{e}" for e in range(EXPERTS)] if experts else ["mlp"]:
            for part, rows, columns in (("gate", INNER, HIDDEN), ("up", INNER, HIDDEN), ("down", HIDDEN, INNER)):
                matrix(f"{at}.{mlp}.{part}_proj", rows, columns)
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})


def run(setaccio, *args):
    done = subprocess.run([setaccio, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"setaccio {' '.join(map(str, args))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def serve(file):
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.warmup, params.cache_prompt = 512, 1, False, False
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.use_jinja, params.port, params.verbosity = True, 0, 0
    return xllamacpp.Server(params)


def ask(server, path, **body):
    asked = Request(f"{server.listening_address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def turns(question):
    return [{"role": "user", "content": question}]


def answer(server, question):
    said = ask(server, "/v1/chat/completions", messages=turns(question), temperature=0, max_tokens=TOKENS)
    return said["choices"][0]["message"]["content"]


def ids(server, question):
    """Of the question in the file's template."""
    text = ask(server, "/apply-template", messages=turns(question))["prompt"]
    return ask(server, "/tokenize", content=text, add_special=True, parse_special=True)["tokens"]


def holds(sequence, part):
    return any(sequence[i : i + len(part)] == part for i in range(len(sequence) - len(part) + 1))


def way(setaccio, experts):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        chats, model, out = folder / "chats", folder / ("qwen3_moe" if experts else "qwen3"), folder / "run"
        write_chats(chats)
        # A tokenizer and a template, and nothing else: that of a run of `--model tiny` over the same chats.
        run(setaccio, "train", chats, "--model", "tiny", "--max-steps", 1, "--out", folder / "tiny")
        write_model(model, folder / "tiny/base", experts)

        sets = ["data.max_length=128", "train.learning_rate=1e-2", "lora.modules_to_save=[\"embed_tokens\",\"norm\"]"]
        changed = [part for one in sets for part in ("--set", one)]
        run(setaccio, "train", chats, "--model", model, "--out", out, "--max-steps", 80, *changed)
        run(setaccio, "merge", out)
        run(setaccio, "export", out, "--quant", "f32")
        server = serve(out / "export/chats-F32.gguf")

        shown = run(setaccio, "train", out, "--show-batch", 120, "--json")
        learned = [json.loads(line)["ids"] for line in shown.splitlines()]
        different = 0
        for question in ASKED:
            asked = ids(server, question)
            if not any(holds(sequence, asked) for sequence in learned):
                sys.exit(f"{question}: llama.cpp cuts it into {asked}, which the run did not learn")
            ours = run(setaccio, "generate", out, "--prompt", question, "--max-tokens", TOKENS).strip()
            theirs = answer(server, question).strip()
            print(f"{question} {ours!r}")
            if theirs != ours or not ours:
                sys.exit(f"{question}: llama.cpp says {theirs!r}, ours {ours!r}")
            different += ours != run(setaccio, "generate", "--model", model, "--prompt", question, "--max-tokens", TOKENS).strip()
        if different != len(ASKED):
            sys.exit(f"a model that was not trained answers {len(ASKED) - different} of {len(ASKED)} questions as this one does")
    print(f"{len(ASKED)} answers of a Qwen 3{' with experts' if experts else ''} that was trained, merged and exported are the same in llama.cpp")


def main(setaccio):
    for experts in (False, True):
        way(setaccio, experts)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
