"""What lm-evaluation-harness' own `hf` model says of the tasks here, for tests/python/check_serve.py.

    python tests/oracles/serve/lm_eval_hf.py SETACCIO > tests/oracles/serve/lm_eval_hf.json

SETACCIO is the program, with the trainer: it makes the model (the base of the recipe `tiny`, whose bytes a recipe decides) that
transformers loads. Needs torch, transformers and lm_eval.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import lm_eval  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from tasks import make, samples, write  # noqa: E402


def main(setaccio):
    with tempfile.TemporaryDirectory() as folder:
        run = make(setaccio, folder)
        names = write(Path(folder) / "tasks")
        model = HFLM(pretrained=str(run / "base"), device="cpu", dtype="float32", batch_size=1)
        results = lm_eval.simple_evaluate(
            model, tasks=names, task_manager=TaskManager(include_path=str(Path(folder) / "tasks"), include_defaults=False),
            bootstrap_iters=0, random_seed=0, numpy_random_seed=0, torch_random_seed=0,
        )
        out = {"metrics": {t: numbers(m) for t, m in results["results"].items()}, "answers": samples(results)}
        json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
        print()


def numbers(metrics):
    return {name: value for name, value in metrics.items() if isinstance(value, float) and "stderr" not in name}


if __name__ == "__main__":
    main(*sys.argv[1:])
