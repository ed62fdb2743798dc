"""Sentiment of messages before and after fine-tuning: python sentiment.py BASE TUNED [FILE.jsonl]

Each label is scored by the log-probability of its tokens behind the question, so that a model that was never told what to answer
has an answer, too.
"""

import json
import sys
from pathlib import Path

from openai import OpenAI

SAMPLES = Path(__file__).parents[2] / "data/samples/evalita_sentiment.jsonl"
LABELS = {"10": "positivo", "01": "negativo", "00": "neutro", "11": "misto"}
# As in pipelines/evalita.toml, which made the rows of the fine-tuning.
QUESTION = "Quale sentimento esprime il messaggio che segue? Rispondi con una parola: positivo, negativo, neutro o misto."

api = OpenAI()
# Beside /v1, as vLLM has it.
TOKENIZE = str(api.base_url.copy_with(path="/tokenize"))


def tokens(model, body):
    return api.post(TOKENIZE, body={"model": model, **body}, cast_to=object)["tokens"]


def answer(model, text):
    """The label that the model finds most probable."""
    turn = {"role": "user", "content": f"{QUESTION}\n\n{text}"}
    asked = tokens(model, {"messages": [turn], "add_generation_prompt": True})
    prompts = [asked + tokens(model, {"prompt": label, "add_special_tokens": False}) for label in LABELS.values()]
    scored = api.completions.create(model=model, prompt=prompts, max_tokens=0, echo=True, logprobs=1)
    sums = [sum(choice.logprobs.token_logprobs[len(asked) :]) for choice in scored.choices]
    return list(LABELS.values())[sums.index(max(sums))]


base, tuned = sys.argv[1:3]
with open(sys.argv[3] if len(sys.argv) > 3 else SAMPLES, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
right = {base: 0, tuned: 0}
for row in rows:
    label = LABELS[row["opos"] + row["oneg"]]
    said = {model: answer(model, row["text"]) for model in right}
    for model in right:
        right[model] += said[model] == label
    print(f"{label:9} {said[base]:9} {said[tuned]:9} {row['text']}")
for model, count in right.items():
    print(f"{model}: {count} of {len(rows)} right")
