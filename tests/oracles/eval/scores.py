"""ROUGE of rouge_score 0.1.2 and BERTScore of bert_score 0.3.13 for 200 pairs of Italian texts, for eval/src/tests.rs.

    python tests/oracles/eval/scores.py [MINILM] > tests/oracles/eval/scores.json

The texts are made of words below by a counted generator. BERTScore asks the small models of tests/oracles/semantic and, if MINILM names
the folder of all-MiniLM-L6-v2 (tools/fetch-assets.sh has it), that one for the first pairs. Batches of one: padding puts zeros among the
cosines. Needs torch, transformers, rouge_score and bert_score.
"""

import json
import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

# bert_score draws pictures, too.
for name in ["matplotlib", "matplotlib.pyplot", "mpl_toolkits", "mpl_toolkits.axes_grid1"]:
    sys.modules[name] = MagicMock()

import bert_score  # noqa: E402
from rouge_score import rouge_scorer  # noqa: E402

MODELS = Path(__file__).parent.parent / "semantic"

WHO = ["il gatto", "la nonna", "Perché il sindaco", "l'elettricista", "una città", "Lucia", "il caffè", "lo zio d'Italia", "la più bella", "chi"]
DOES = ["è", "non è", "mangerà", "beve", "dà", "ha già detto", "può vedere", "cucì", "sposò", "va a prendere"]
WHAT = ["il tè delle 5", "la virtù", "un caffè", "tutte le cose", "la libertà di parola", "l'età dell'oro", "sé stesso", "3 mele", "la cosa più cara",
        "un babà", "niente"]
WHERE = ["a Forlì", "lunedì", "in casa", "lassù", "qua e là", "alle 7:30", "nel 1861", "e così via", "laggiù, dove finì", ""]
END = [".", "!", "?", "...", "", " \u2013 sì."]
STATE = 20261128


def pick(of):
    """The next one, by a counter that is mixed."""
    global STATE
    STATE = (STATE * 6364136223846793005 + 1442695040888963407) % 2**64
    return of[(STATE >> 33) % len(of)]


def sentence():
    text = " ".join(part for part in [pick(WHO), pick(DOES), pick(WHAT), pick(WHERE)] if part) + pick(END)
    return text[0].upper() + text[1:] if pick([0, 1]) else text


def changed(text):
    """The same with words that are left out, twice there, in another place or in capitals."""
    words = text.split(" ")
    for _ in range(pick([0, 1, 2, 4])):
        at = pick(range(len(words)))
        kind = pick(["out", "twice", "swap", "upper", "other"])
        if kind == "out" and len(words) > 1:
            words.pop(at)
        elif kind == "twice":
            words.insert(at, words[at])
        elif kind == "swap":
            words.append(words.pop(at))
        elif kind == "upper":
            words[at] = words[at].upper()
        else:
            words[at:at] = sentence().split(" ")[:3]
    return " ".join(words)


def pairs():
    out = []
    for i in range(200):
        reference = sentence() if i % 3 else sentence() + " " + sentence()
        answer = sentence() if i % 5 == 0 else changed(reference)
        out.append([answer, reference])
    return out


class Words:
    """Unicode's words, in place of rouge_score's tokens."""

    def tokenize(self, text):
        return re.findall(r"\w+", text.lower())


def rouge(all_pairs, tokenizer):
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False, tokenizer=tokenizer)
    out = []
    for answer, reference in all_pairs:
        scores = scorer.score(reference, answer)
        out.append([round(x, 9) for kind in ["rouge1", "rouge2", "rougeL"] for x in scores[kind]])
    return out


def bert(folder, layer, all_pairs, idf):
    scorer = bert_score.BERTScorer(
        model_type=str(folder), num_layers=layer, batch_size=1, device="cpu", idf=idf,
        idf_sents=[reference for _, reference in all_pairs] if idf else None, use_fast_tokenizer=True,
    )
    parts = scorer.score([answer for answer, _ in all_pairs], [reference for _, reference in all_pairs], batch_size=1)
    # Where no token weighs anything the package says NaN, and we 0.
    return [[0.0 if x != x else round(float(x), 8) for x in row] for row in zip(*parts)]


def main(minilm=None):
    made = pairs()
    # The small models read few tokens of a text.
    short = [[" ".join(text.split(" ")[:5]) for text in pair] for pair in made]
    out = {"pairs": made, "rouge": rouge(made, None), "rouge_words": rouge(made, Words()), "short": short, "bertscore": []}
    for model, layer in [("bert", 1), ("bert", 2), ("xlmr", 2), ("distilbert", 1)]:
        for idf in [False, True]:
            scores = bert(MODELS / model, layer, short, idf)
            out["bertscore"].append({"model": model, "layer": layer, "idf": idf, "scores": scores})
    if minilm:
        out["minilm"] = [{"layer": 4, "idf": idf, "scores": bert(minilm, 4, made[:40], idf)} for idf in [False, True]]
    print(json.dumps(out, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n["))


if __name__ == "__main__":
    main(*sys.argv[1:])
