"""What lm-evaluation-harness says of the tasks that the program carries, for tests/e2e/eval.rs.

    python tests/oracles/eval/lm_eval_hf.py SETACCIO > tests/oracles/eval/lm_eval_hf.json

The harness's own tasks, with its own prompts, examples, filters and metrics, on its own `hf` model; only the rows are the samples of this
repository, in place of those of the Hub. SETACCIO is the program, with the trainer: it makes the model (the base of the recipe `tiny`,
whose bytes a recipe decides). Needs torch, transformers and lm_eval 0.4.13.
"""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"
ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "data/samples"
sys.path.insert(0, str(ROOT / "tests/oracles/serve"))

import datasets  # noqa: E402
import lm_eval  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from tasks import make  # noqa: E402

# Files that stand for the splits of sets.
FILES = {
    ("alexandrainst/m_arc", "it"): {"train": "eval/arc-it.jsonl", "validation": "eval/arc-it.jsonl", "test": "eval/arc-it.jsonl"},
    ("alexandrainst/m_hellaswag", "it"): {"val": "eval/hellaswag-it.jsonl"},
    ("alexandrainst/m_mmlu", "it"): {"train": "eval/mmlu-it-examples.jsonl", "test": "eval/mmlu-it.jsonl"},
    ("alexandrainst/m_truthfulqa", "it"): {"val": "eval/truthfulqa-it.jsonl"},
    ("truthfulqa/truthful_qa", "multiple_choice"): {"validation": "eval/truthfulqa.jsonl"},
    ("allenai/ai2_arc", "ARC-Easy"): {"train": "eval/arc.jsonl", "validation": "eval/arc.jsonl", "test": "eval/arc.jsonl"},
    ("allenai/ai2_arc", "ARC-Challenge"): {"train": "eval/arc.jsonl", "validation": "eval/arc.jsonl", "test": "eval/arc.jsonl"},
    ("Rowan/hellaswag", None): {"train": "eval/hellaswag.jsonl", "validation": "eval/hellaswag.jsonl"},
    ("cais/mmlu", "high_school_physics"): {"dev": "eval/mmlu-examples.jsonl", "test": "eval/mmlu.jsonl"},
    ("cais/mmlu", "high_school_geography"): {"dev": "eval/mmlu-examples.jsonl", "test": "eval/mmlu.jsonl"},
    ("allenai/winogrande", "winogrande_xl"): {"train": "eval/winogrande.jsonl", "validation": "eval/winogrande.jsonl"},
    ("openai/gsm8k", "main"): {"train": "eval/gsm8k-examples.jsonl", "test": "eval/gsm8k.jsonl"},
    ("evalitahf/hatespeech_detection", None): {"dev": "evalita_hatespeech.jsonl", "test_all": "evalita_hatespeech.jsonl"},
    ("evalitahf/textual_entailment", None): {"dev": "evalita_textual_entailment.jsonl", "test": "evalita_textual_entailment.jsonl"},
    ("evalitahf/sentiment_analysis", None): {"train": "evalita_sentiment.jsonl", "test": "evalita_sentiment.jsonl"},
    ("evalitahf/word_in_context", "default"): {"dev": "evalita_word_in_context.jsonl", "test": "evalita_word_in_context.jsonl"},
}

# Our task, examples, the harness's tasks whose rows it has one after the other.
RUNS = [
    ("arc_it", 0, ["arc_it"]),
    ("arc_it", 3, ["arc_it"]),
    ("hellaswag_it", 0, ["hellaswag_it"]),
    ("hellaswag_it", 2, ["hellaswag_it"]),
    ("m_mmlu_it", 5, ["m_mmlu_it"]),
    ("truthfulqa_it_mc1", 0, ["truthfulqa_it_mc1"]),
    ("truthfulqa_it_mc2", 0, ["truthfulqa_it_mc2"]),
    ("truthfulqa_mc1", 0, ["truthfulqa_mc1"]),
    ("truthfulqa_mc2", 0, ["truthfulqa_mc2"]),
    ("arc_easy", 0, ["arc_easy"]),
    ("arc_challenge", 4, ["arc_challenge"]),
    ("hellaswag", 3, ["hellaswag"]),
    ("mmlu", 5, ["mmlu_high_school_physics", "mmlu_high_school_geography"]),
    ("winogrande", 0, ["winogrande"]),
    ("winogrande", 2, ["winogrande"]),
    ("gsm8k", 2, ["gsm8k"]),
    ("evalita_hate", 0, ["evalita-mp_hs_prompt-1"]),
    ("evalita_entailment", 0, ["evalita-mp_te_prompt-1"]),
    ("evalita_sentiment", 0, ["evalita-mp_sa_prompt-1"]),
    ("evalita_words_in_context", 0, ["evalita-mp_wic_prompt-1"]),
    ("perplexity_it", 0, ["perplexity_it"]),
]

PERPLEXITY = """task: perplexity_it
dataset_path: gsarti/clean_mc4_it
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""
# Documents of the perplexity task.
TEXTS = 12


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def load(path, name=None, **_):
    if path == "gsarti/clean_mc4_it":
        import gzip

        texts = [json.loads(line) for line in gzip.open(SAMPLES / "clean_mc4_it.json.gz", "rt", encoding="utf-8")][:TEXTS]
        return datasets.DatasetDict({"test": datasets.Dataset.from_list(texts)})
    found = {split: rows(SAMPLES / file) for split, file in FILES[path, name].items()}
    if path == "cais/mmlu":
        found = {split: [row for row in of if row["subject"] == name] for split, of in found.items()}
    return datasets.DatasetDict({split: datasets.Dataset.from_list(of) for split, of in found.items()})


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def told(sample):
    """A row: the hash of its first prompt, and what the model said."""
    arguments = [request["arg_0"] for request in sample["arguments"].values()] if isinstance(sample["arguments"], dict) else None
    prompts = arguments or [argument[0] for argument in sample["arguments"]]
    said = [r[0] if isinstance(r, (list, tuple)) and len(r) == 1 else r for r in sample["resps"]]
    first = said[0]
    if isinstance(first, str):
        return {"prompt": sha(prompts[0]), "text": first}
    if not isinstance(first, (list, tuple)):
        return {"prompt": sha(prompts[0]), "sum": float(first)}
    return {"prompt": sha(prompts[0]), "sums": [float(s[0]) for s in said], "greedy": [str(s[1]) == "True" for s in said]}


def main(setaccio):
    datasets.load_dataset = load
    with tempfile.TemporaryDirectory() as folder:
        run = make(setaccio, folder)
        extra = Path(folder) / "tasks"
        extra.mkdir()
        (extra / "perplexity_it.yaml").write_text(PERPLEXITY, encoding="utf-8")
        model = HFLM(pretrained=str(run / "base"), device="cpu", dtype="float32", batch_size=1)
        manager = TaskManager(include_path=str(extra))
        out = {"positions": model.max_length, "texts": TEXTS, "runs": []}
        for task, shots, theirs in RUNS:
            results = lm_eval.simple_evaluate(
                model, tasks=theirs, num_fewshot=shots, task_manager=manager, bootstrap_iters=0,
                gen_kwargs="max_gen_toks=32" if task == "gsm8k" else None,
            )
            metrics, answers = {}, []
            for name in theirs:
                for metric, value in results["results"][name].items():
                    if isinstance(value, float):
                        metrics.setdefault(metric, []).append(value)
                seen = {}
                for sample in results["samples"][name]:
                    # One that is filtered in several ways is there as often.
                    seen.setdefault(sample["doc_id"], sample)
                answers += [told(seen[i]) for i in sorted(seen)]
            out["runs"].append({"task": task, "shots": shots, "theirs": theirs, "metrics": metrics, "answers": answers})
        json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
