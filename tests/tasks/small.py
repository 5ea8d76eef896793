"""Tasks that load in a moment, and a run of one that takes a fraction of a second."""

from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from redrop.train import TrainConfig
from redrop.train.loop import train

MODELS = {
    "transformer": {"width": 16, "layers": 1, "heads": 2, "context": 16},
    "vision_transformer": {"width": 16, "layers": 1, "heads": 2, "patch_size": 4},
    "mlp": {"width": 16, "layers": 1},
}
SPECS = {
    "text": TaskSpec(source="markov:4000"),
    "digits": TaskSpec(kind="images", source="digits", network="vision_transformer", limit=120),
    "digits on an mlp": TaskSpec(kind="images", source="digits", network="mlp", limit=120),
    "classes": TaskSpec(kind="table", source="wine", network="mlp"),
    "values": TaskSpec(kind="table", source="diabetes", network="mlp"),
}


def task(name, **model):
    spec = SPECS[name]
    return load_task(spec, {**MODELS[spec.network], **model})


def train_config(**changes):
    settings = {"steps": 8, "batch_size": 8, "warmup_steps": 1, "eval_every": 4, "threads": 1}
    return TrainConfig(
        **settings | {"eval_tokens": 256, "checkpoint_every": 3, "seed": 5} | changes
    )


def run(task, directory, *, progress=None, **changes):
    """Train; return the result and the events."""
    events = []
    result = train(task, train_config(**changes), directory, events.append, progress=progress)
    return result, events
