"""The film that comes next, of those that somebody watched: python recommender.py MODEL

A sequential recommender without training: the model reads what was watched, in order, and every film that was not is scored by the
mean log-probability of its title's tokens as the next line.
"""

import sys

from openai import OpenAI

MODEL = sys.argv[1]
WATCHED = ["Ladri di biciclette", "Roma città aperta", "Sciuscià", "Paisà"]
FILMS = ["Umberto D.", "La dolce vita", "Il sorpasso", "Profondo rosso", "I soliti ignoti", "Germania anno zero"]

api = OpenAI()
# Beside /v1, as vLLM has it.
TOKENIZE = str(api.base_url.copy_with(path="/tokenize"))


def tokens(text):
    return api.post(TOKENIZE, body={"model": MODEL, "prompt": text, "add_special_tokens": False}, cast_to=object)["tokens"]


said = "Film visti, in ordine:\n" + "".join(f"- {film}\n" for film in WATCHED) + "-"
asked = tokens(said)
# Prompts that begin alike are read once.
prompts = [asked + tokens(f" {film}") for film in FILMS]
scored = api.completions.create(model=MODEL, prompt=prompts, max_tokens=0, echo=True, logprobs=1)
means = {}
for film, choice in zip(FILMS, scored.choices):
    of_title = choice.logprobs.token_logprobs[len(asked) :]
    means[film] = sum(of_title) / len(of_title)

print(f"Visti: {', '.join(WATCHED)}")
for film in sorted(means, key=means.get, reverse=True):
    print(f"{means[film]:8.3f}  {film}")
