"""Makes tensorboard_events.json: an event file as TensorBoard's own writer lays it out, and the lines of metrics in it.

    python -m venv V && V/bin/pip install tensorboard==2.21.0 && V/bin/python tests/oracles/train/tensorboard_events.py

With the path of a run as argument it writes nothing and prints what TensorBoard reads there instead.
"""

import json
import sys
import tempfile
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

WALL_TIME = 1767225600.25
# Keys in the order of their bytes, as the trainer keeps them.
LINES = [
    (1, [("epoch", 0.01), ("grad_norm", 3.5), ("learning_rate", 2e-05), ("loss", 2.302585092994046)]),
    (300, [("epoch", 3.0), ("loss", 1e-30), ("rewards/margins", -0.5)]),
    (300, [("eval_loss", 1.25), ("eval_mean_token_accuracy", 0.0)]),
    (25_000, [("loss", 1.0)]),
]


# Texts, as the text plugin keeps them.
SAMPLES = [
    (20, [{"prompt": "Perch\u00e9?\n# no heading", "text": "Perch\u00e9 s\u00ec.\n\n*as it is*"}, {"prompt": "x", "text": ""}]),
    (300, [{"prompt": "long", "text": "parola " * 100}]),
]


def as_it_is(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


def text(i, sample):
    """What `SummaryWriter.add_text` of PyTorch makes of a Markdown text."""
    shown = as_it_is(sample["prompt"]) + "\n---\n\n" + as_it_is(sample["text"])
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[shown.encode()], tensor_shape=shape)
    return Summary.Value(tag=f"sample/{i}/text_summary", metadata=metadata, tensor=tensor)


def tag(name):
    return "eval/" + name[5:] if name.startswith("eval_") else "train/" + name


def make():
    with tempfile.NamedTemporaryFile() as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=WALL_TIME, file_version="brain.Event:2").SerializeToString())
        for step, values in LINES:
            summary = Summary(value=[Summary.Value(tag=tag(k), simple_value=v) for k, v in values])
            writer.write(Event(wall_time=WALL_TIME, step=step, summary=summary).SerializeToString())
        for step, samples in SAMPLES:
            summary = Summary(value=[text(i + 1, sample) for i, sample in enumerate(samples)])
            writer.write(Event(wall_time=WALL_TIME, step=step, summary=summary).SerializeToString())
        writer.flush()
        data = Path(file.name).read_bytes()
    out = Path(__file__).with_suffix(".json")
    out.write_text(json.dumps({"wall_time": WALL_TIME, "lines": LINES, "samples": SAMPLES, "hex": data.hex()}, indent=1) + "\n")


def show(run):
    events = EventAccumulator(run, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    for name in sorted(events.Tags()["scalars"]):
        print(name, [(e.step, e.value) for e in events.Scalars(name)])
    for name in sorted(events.Tags()["tensors"]):
        print(name, [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors(name)])


if __name__ == "__main__":
    show(sys.argv[1]) if len(sys.argv) > 1 else make()
