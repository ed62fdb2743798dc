"""Token ids, masks and packing as transformers, SentencePiece and TRL give them.

    ~/.cache/setaccio-oracles/bin/python -m pip install --target /tmp/spm sentencepiece==0.2.3
    PYTHONPATH=/tmp/spm ~/.cache/setaccio-oracles/bin/python tests/oracles/train/tokens.py

writes tokens.json beside it. Reads llama3/ and smollm2/ below ~/.cache/setaccio-assets (SETACCIO_ASSETS overrides it).

texts: 200 texts; llama3, smollm2: their ids. The GGUF of SmolLM2 is read by transformers, whose conversion cuts texts
as GPT-2 does; the pre-tokenizer is then replaced by that of SmolLM2's own tokenizer.json (Digits, one by one, then
ByteLevel), and `smollm2_gpt2` lists the texts for which that makes a difference. llama.cpp (node-llama-cpp 3) gives
the ids written here for all 200.
chats: conversations, and their ids through SmolLM2's own template and through pipelines/templates/llama3.jinja.
generation: a template with {% generation %} blocks, and for each conversation the ids and the assistant mask.
sentencepiece: a BPE model with byte fallback trained here, as GGUF holds it, and the ids of the texts.
packing: numbers of sequences of TRL's pack_dataset; documents that it packs, and the batch that its collator makes.
"""

import io
import json
import os
import pathlib

import sentencepiece
from datasets import Dataset
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer
from trl.data_utils import pack_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

HERE = pathlib.Path(__file__).resolve().parent
ASSETS = pathlib.Path(os.environ.get("SETACCIO_ASSETS", pathlib.Path.home() / ".cache/setaccio-assets"))

WORDS = (
    "farina setaccio grano mulino perché città l'acqua un'ora già più però dell'Italia cosiddetto virtù è È "
    "the flour I'm we'll can't IT'S 3,14 2024 1234567 n° §12 € straße Ünïcode naïve Ελλάδα Москва 日本語 한국어 العربية "
    "🌾 👩‍🌾 🇮🇹 👍🏽 e\u0301 n\u0303o a\u0308 \u00a0 \u200b \u202f \ufeff x=1; -> != ::<T> {} [] </s> <s> <unk> ½ Ⅻ ² ١٢٣ ǅ ß ﬁ"
).split(" ")
GAPS = [" ", "  ", "\n", "\n\n", "\t", " \n ", "   ", "\r\n", "", "\u2003", "\x0b", "\x85", ", ", "... ", "\u2028"]
SPECIAL = ["<|begin_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|start_header_id|>"]
FIXED = [
    "", " ", "\n", "\t\t", "    ", "\u0301", "\u200d", "a", "'", "''s 'S 'LL", "0", "00000000", "1 2  3   4    5",
    "  12", "x  12 \n34", "def setaccia(righe):\n    return [r for r in righe if r.strip()]\n",
    "fn main() {\n\tprintln!(\"{}\", 0x1F_u8 + 1e-9);\n}\n\n\n", "<p class=\"a\">C&amp;A</p>",
    "Nel mulino si macina il grano; nella madia si setaccia la farina, e quel che resta è crusca.",
    "SELECT nome, COUNT(*) FROM mulini WHERE città = 'Cuneo' GROUP BY 1;", "https://example.org/à?b=1&c=%20#d",
    "\u00e9 e\u0301 \u1e69 s\u0323\u0307", "👨‍👩‍👧‍👦👨‍👩‍👧", "\ud7a3\u1112\u1161\u11ab", "𝔘𝔫𝔦 𝟙𝟚𝟛", "\u0000\u0001\u001f\u007f",
]


def texts():
    out = list(FIXED)
    i = 0
    while len(out) < 200:
        i += 1
        parts = []
        for j in range(1 + i % 9):
            parts.append(WORDS[(i * 13 + j * j * 7 + i * j) % len(WORDS)])
            parts.append(GAPS[(i * 5 + j * 3 + i * i) % len(GAPS)])
            if (i + j) % 11 == 0:
                parts.append(SPECIAL[(i + 2 * j) % len(SPECIAL)])
        out.append("".join(parts))
    return out


def chats():
    say = lambda *turns: [{"role": role, "content": content} for role, content in turns]
    system, user, assistant = ((role,) for role in ("system", "user", "assistant"))
    return [
        say(user + ("Che ore sono?",), assistant + ("Le sette.",)),
        say(system + ("Sii breve.",), user + ("Ciao",), assistant + ("Ciao a te.",)),
        say(user + ("Uno",), assistant + ("1",), user + ("Due\n\ne tre",), assistant + ("2\n3",)),
        say(system + ("Conta.",), *[t for k in range(4) for t in (user + (f"{k}?",), assistant + (f"{k * k} 🙂",))]),
        say(user + ("Scrivi codice",), assistant + ("```rust\nfn main() {}\n```",)),
        say(user + ("L'è già così?",), assistant + ("Sì: 12 345,67 €.",)),
    ]


# What stands before {% generation %} ends with a special token or a line end, so that no token crosses it.
GENERATION = (
    "{%- for message in messages %}\n"
    "    {%- if message['role'] == 'assistant' %}\n"
    "        {{- OPEN + 'assistant' + MIDDLE }}\n"
    "        {%- generation %}\n"
    "            {{- message['content'] | trim + END }}\n"
    "        {%- endgeneration %}\n"
    "    {%- else %}\n"
    "        {{- OPEN + message['role'] + MIDDLE + message['content'] | trim + END }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
)


def generation(opening, middle, end):
    return GENERATION.replace("OPEN", json.dumps(opening)).replace("MIDDLE", json.dumps(middle)).replace("END", json.dumps(end))


def masked(tokenizer, template):
    rows = []
    for chat in chats():
        out = tokenizer.apply_chat_template(
            chat, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        rows.append({"ids": out["input_ids"], "mask": "".join(map(str, out["assistant_masks"]))})
    return {"template": template, "rows": rows}


def through(tokenizer, template=None):
    out = [tokenizer.apply_chat_template(c, chat_template=template, tokenize=True, return_dict=True) for c in chats()]
    return [o["input_ids"] for o in out]


def piece_model():
    """A small SentencePiece BPE with the settings of Llama 2."""
    corpus = [" ".join(WORDS[(i * k + k * k) % 40] for k in range(12)) for i in range(1, 120)] + FIXED[15:20] * 3
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", vocab_size=520, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, num_threads=1,
        allow_whitespace_only_pieces=True, character_coverage=0.99995, minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    kinds = []
    for i in range(len(sp)):
        kinds.append(2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1)
    # Control tokens are searched for by us and by transformers, and are plain text to SentencePiece itself.
    plain = [t for t in texts() if "<s>" not in t and "</s>" not in t and "<unk>" not in t and "\0" not in t]
    return {
        "tokens": [sp.id_to_piece(i) for i in range(len(sp))],
        "scores": [sp.get_score(i) for i in range(len(sp))],
        "kinds": kinds,
        "texts": [texts().index(t) for t in plain],
        "ids": [sp.encode(t) for t in plain],
    }


def packing():
    runs = []
    for seq, spread in [(1024, 1024), (1024, 300), (2048, 700)]:
        # Many short rows, few long ones; the tests make the same.
        lengths = [1 + (i * i * 7919 + i * 104729) % spread * ((i * 31) % 97) // 97 for i in range(2000)]
        lengths = [min(n, seq) for n in lengths]
        packed = pack_dataset(Dataset.from_dict({"input_ids": [[0] * n for n in lengths]}), seq, "bfd", {"batch_size": 2000})
        runs.append({"max": seq, "spread": spread, "tokens": sum(lengths), "bins": len(packed)})
    documents = [[10 + 20 * d + t for t in range(n)] for d, n in enumerate([7, 3, 5, 1, 4, 2])]
    learned = [[int((t * 3 + d) % 4 != 0) for t in range(len(ids))] for d, ids in enumerate(documents)]
    labels = [[i if m else -100 for i, m in zip(ids, mask)] for ids, mask in zip(documents, learned)]
    packed = pack_dataset(Dataset.from_dict({"input_ids": documents, "labels": labels}), 11, "bfd")
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([packed[i] for i in range(len(packed))])
    return {
        "runs": runs,
        "documents": documents,
        "learned": learned,
        "max": 11,
        "sequences": list(packed["seq_lengths"]),
        "batch": {k: batch[k][0].tolist() for k in ("input_ids", "labels", "position_ids")},
    }


def main():
    llama = AutoTokenizer.from_pretrained(ASSETS / "llama3")
    smol = AutoTokenizer.from_pretrained(ASSETS / "smollm2", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    ids = lambda tokenizer: [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts()]
    gpt2 = ids(smol)
    smol.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    own = ids(smol)
    template = (HERE.parents[2] / "pipelines/templates/llama3.jinja").read_text(encoding="utf-8")
    out = {
        "texts": texts(),
        "llama3": ids(llama),
        "smollm2": own,
        "smollm2_gpt2": [i for i, (a, b) in enumerate(zip(gpt2, own)) if a != b],
        "chats": chats(),
        "llama3_chats": through(llama, template),
        "smollm2_chats": through(smol),
        "smollm2_special": [smol.bos_token, smol.eos_token, smol.pad_token],
        "generation": {
            "llama3": masked(llama, generation("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")),
            "smollm2": masked(smol, generation("<|im_start|>", "\n", "<|im_end|>")),
        },
        "sentencepiece": piece_model(),
        "packing": packing(),
    }
    # One line a key, so that a change can be read.
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=True, separators=(',', ':'))}" for k, v in out.items()]
    (HERE / "tokens.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
