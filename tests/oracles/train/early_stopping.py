"""Where transformers' Trainer stops early: its EarlyStoppingCallback and its way to keep the best metric, over lists of
evaluation losses. Writes early_stopping.json.

    ~/.cache/setaccio-oracles/bin/python tests/oracles/train/early_stopping.py
"""

from types import SimpleNamespace

from common import write_json
from transformers import EarlyStoppingCallback, Trainer, TrainerControl, TrainerState, TrainingArguments

CASES = [
    (1, 0.0, [3.0, 2.0, 2.5, 1.0]),
    (2, 0.0, [3.0, 2.0, 2.5, 1.9, 2.0, 2.1, 1.0]),
    (3, 0.0, [3.0, 3.0, 3.0, 3.0, 3.0]),
    (2, 0.1, [3.0, 2.95, 2.9, 2.7, 2.65, 2.61, 2.0]),
    (2, 0.5, [3.0, 2.0, 1.75, 1.5, 1.0]),
    (2, 0.25, [3.0, 2.75, 2.5, 2.0, 1.75, 1.5]),
    (5, 0.0, [3.0, 2.0, 1.0]),
]


def stop(patience, threshold, losses):
    """After how many evaluations it stops, or none; the number from 1 of the best one by then."""
    args = TrainingArguments(
        output_dir="unused", metric_for_best_model="loss", greater_is_better=False, load_best_model_at_end=True, eval_strategy="steps",
        eval_steps=1, save_steps=1, save_strategy="steps", use_cpu=True, report_to=[],
    )
    callback = EarlyStoppingCallback(early_stopping_patience=patience, early_stopping_threshold=threshold)
    state, control = TrainerState(), TrainerControl()
    trainer = SimpleNamespace(args=args, state=state, _get_output_dir=lambda trial: "unused")
    best = 0
    for n, loss in enumerate(losses, 1):
        metrics = {"eval_loss": loss}
        state.global_step = n
        callback.on_evaluate(args, state, control, metrics)
        if Trainer._determine_best_metric(trainer, metrics, None):
            best = n
        if control.should_training_stop:
            return n, best
    return None, best


write_json(
    __file__,
    [
        {"patience": p, "min_delta": d, "losses": losses, "stops": stop(p, d, losses)[0], "best": stop(p, d, losses)[1]}
        for p, d, losses in CASES
    ],
)
