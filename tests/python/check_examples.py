"""The examples, run as a person runs them, with the real libraries: python tests/python/check_examples.py SETACCIO PYTHON MODEL

SETACCIO is the program with the feature `serve`, PYTHON has examples/requirements.txt, MODEL is SmolLM2-135M-Instruct as a GGUF file.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from server import Server, same

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(python, server, script, *args):
    env = {**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, EXAMPLES / script, *args], env=env, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{script}: {done.stderr}")
    print(f"-- {script}\n{done.stdout}", flush=True)
    return done.stdout.splitlines()


def rag(python, server, model, script):
    question, *rest = run(python, server, script, model)
    same("the question", question, "Quanto costa la molitura delle olive per i soci del frantoio?")
    found = [line for line in rest if re.match(r"\[\w+\.txt\] ", line)]
    same("passages", len(found), 2)
    assert any("sedici euro" in line for line in found), "the passage that has the answer is one of them"
    assert rest[0].strip(), "there is an answer"


def topics(python, server, model):
    first, *lines = run(python, server, "topics/topics.py", model)
    counts = re.match(r"79 texts, (\d+) topics", first)
    assert counts and int(counts[1]) >= 2, first
    found = [re.match(r" *(-?\d+) +(\d+) texts  (.+)", line) for line in lines]
    same("topics", len(found), int(counts[1]))
    same("texts in all", sum(int(one[2]) for one in found), 79)
    assert all(len(one[3].split(", ")) == 6 for one in found), "each topic has words"


def recommender(python, server, model):
    _, *lines = run(python, server, "recommender/recommender.py", model)
    means = [float(line.split()[0]) for line in lines]
    same("films", len(lines), 6)
    same("their order", means, sorted(means, reverse=True))
    assert "La dolce vita" in lines[0], "the film that is best known comes first"


def sentiment(setaccio, python, folder):
    """A tiny model learns the rows by heart, and so answers rightly after training."""
    data, out = Path(folder) / "evalita", Path(folder) / "tuned"
    subprocess.run([setaccio, "build", "evalita", "--out", data], check=True, capture_output=True)
    sets = ["method=full", f'data.train=["{data}"]', "train.max_steps=400", "train.batch=2", "train.learning_rate=2e-3",
            "train.optimizer=adamw", "train.weight_decay=0.0", "eval.every=400"]
    sets = [part for value in sets for part in ("--set", value)]
    subprocess.run([setaccio, "train", "default", "--model", "tiny", "--out", out, *sets], check=True, capture_output=True)
    with Server(setaccio, out) as server:
        *_, before, after = run(python, server, "sentiment/sentiment.py", "base", "tuned")
    before, after = [int(re.match(r"\w+: (\d+) of 18 right", line)[1]) for line in (before, after)]
    assert after >= 15 and after > before + 5, f"{before} right before training, {after} after it"


def main(setaccio, python, model):
    with Server(setaccio, model) as server:
        name = Path(model).stem
        rag(python, server, name, "rag/rag_langchain.py")
        rag(python, server, name, "rag/rag_llama_index.py")
        recommender(python, server, name)
        topics(python, server, name)
    with tempfile.TemporaryDirectory() as folder:
        sentiment(setaccio, python, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
