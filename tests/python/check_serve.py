"""Real clients ask `setaccio serve`: lm-evaluation-harness and openai.

    python tests/python/check_serve.py SETACCIO [PACKAGES CHROMIUM]

SETACCIO is the program with the feature `serve`. lm-evaluation-harness scores tasks written for it (tests/oracles/serve/tasks.py)
through `/v1/completions`, its tokenizer from the model's folder and, a second time, from the server; every log-likelihood must
be that of its own `hf` model (tests/oracles/serve/lm_eval_hf.json) within 1e-4, every text the same, and so every metric. openai
lists models, chats, streams, stops, takes log-probabilities, two choices and vectors, and reads an error as one. CHROMIUM opens the
chat page, by tests/page/check_page.mjs with its PACKAGES.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"
os.environ["OPENAI_API_KEY"] = "unused"
ORACLE = Path(__file__).parent.parent / "oracles/serve"
sys.path.insert(0, str(ORACLE))

import lm_eval  # noqa: E402
import openai  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from tasks import make, samples, write  # noqa: E402

from server import Server, same  # noqa: E402


def near(what, found, expected):
    if abs(found - expected) > 1e-4 * max(1.0, abs(expected)):
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def harness(url, folder, args, expected, left_out=()):
    args = {"model": "base", "base_url": f"{url}/v1/completions", "num_concurrent": 4, "max_retries": 1, **args}
    names = [name for name in write(Path(folder) / "tasks") if name not in left_out]
    tasks = TaskManager(include_path=str(Path(folder) / "tasks"), include_defaults=False)
    results = lm_eval.simple_evaluate(
        "local-completions", model_args=",".join(f"{k}={v}" for k, v in args.items()), tasks=names, task_manager=tasks,
        bootstrap_iters=0, random_seed=0, numpy_random_seed=0, torch_random_seed=0,
    )
    count, greatest = 0, 0.0
    for task, answers in samples(results).items():
        same(f"answers of {task}", len(answers), len(expected["answers"][task]))
        for i, (found, wanted) in enumerate(zip(answers, expected["answers"][task])):
            count += 1
            if isinstance(wanted, str):
                same(f"text {i} of {task}", found, wanted)
                continue
            found, wanted = [x if isinstance(x, list) else [x] for x in (found, wanted)]
            near(f"log-likelihood {i} of {task}", float(found[0]), float(wanted[0]))
            greatest = max(greatest, abs(float(found[0]) - float(wanted[0])))
            if len(wanted) > 1:
                same(f"whether answer {i} of {task} is greedy", found[1], wanted[1])
    for task in names:
        metrics = expected["metrics"][task]
        for name, value in metrics.items():
            near(f"{name} of {task}", results["results"][task][name], value)
    return count, greatest


def client(url):
    api = openai.OpenAI(base_url=f"{url}/v1")
    same("models", [model.id for model in api.models.list()], ["base", "run"])
    ask = {"model": "run", "messages": [{"role": "user", "content": "Dove va il treno?"}], "max_tokens": 10, "temperature": 0}
    answer = api.chat.completions.create(**ask, logprobs=True, top_logprobs=2)
    choice = answer.choices[0]
    same("role", choice.message.role, "assistant")
    same("tokens", len(choice.logprobs.content), answer.usage.completion_tokens)
    stream = api.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    same("the streamed text", text, choice.message.content)
    same("usage of the stream", chunks[-1].usage.completion_tokens, answer.usage.completion_tokens)
    two = api.completions.create(model="base", prompt="Il treno", n=2, seed=7, max_tokens=5)
    same("choices", [c.index for c in two.choices], [0, 1])
    vectors = api.embeddings.create(model="base", input=["Il treno parte.", "Piove."]).data
    same("vectors", [len(v.embedding) for v in vectors], [128, 128])
    near("their length", sum(x * x for x in vectors[0].embedding), 1.0)
    try:
        api.chat.completions.create(**{**ask, "model": "altro"})
    except openai.NotFoundError as error:
        same("code", error.code, "model_not_found")
    else:
        raise AssertionError("a model that is not there is an error")


def main(setaccio, packages=None, chromium=None):
    expected = json.loads((ORACLE / "lm_eval_hf.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        run = make(setaccio, folder)
        # As `hf` has it: as many tokens as there are positions, and one that nothing comes after.
        window = json.loads((run / "base/config.json").read_text())["max_position_embeddings"] + 2
        with Server(setaccio, run) as server:
            own = {"tokenizer": run / "base", "tokenizer_backend": "huggingface", "add_bos_token": True, "max_length": window}
            count, greatest = harness(server.url, folder, own, expected)
            print(f"lm-evaluation-harness: {count} answers as its hf model's, log-likelihoods within {greatest:.1e}")
            client(server.url)
            if chromium:
                page = Path(__file__).parent.parent / "page/check_page.mjs"
                subprocess.run(["node", page, packages, chromium, server.url], check=True)
            print("openai: models, chat, stream, log-probabilities, choices, vectors and errors as it reads them")
        with Server(setaccio, run, "--tokenizer-info", "--score-with-bos") as server:
            # One less, as the server puts BOS before; in rolling windows `hf` has it twice, so they are another number.
            args = {"max_length": window - 1}
            count, greatest = harness(server.url, folder, args, expected, left_out=["st_rolling"])
            print(f"with the server's tokenizer: {count} answers, within {greatest:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
