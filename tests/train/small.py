"""A run that takes a fraction of a second."""

from functools import cache

from redrop.data import load_corpus
from redrop.models import DropoutRates, TransformerConfig
from redrop.tasks.text import TextTask
from redrop.train import TrainConfig
from redrop.train.loop import train


@cache
def corpus():
    return load_corpus("reference", limit=6_000)


def model_config(p=0.0, **changes):
    return TransformerConfig(
        **{
            "vocab_size": corpus().tokenizer.vocab_size,
            "width": 16,
            "layers": 1,
            "heads": 2,
            "context": 12,
            "dropout": DropoutRates.everywhere(p),
            **changes,
        }
    )


def text_task(p=0.0, **changes):
    return TextTask(corpus(), model_config(p, **changes))


def train_config(**changes):
    return TrainConfig(
        **{
            "steps": 12,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "min_learning_rate": 1e-3,
            "warmup_steps": 2,
            "eval_every": 4,
            "eval_tokens": 240,
            "checkpoint_every": 3,
            "seed": 5,
            "threads": 1,
            **changes,
        }
    )


def run(directory, p=0.0, *, model=None, progress=None, **changes):
    """Train; return the result and the events."""
    events = []
    task, config = text_task(p, **(model or {})), train_config(**changes)
    result = train(task, config, directory, events.append, progress=progress)
    return result, events


def without_seconds(events):
    return [{key: value for key, value in e.items() if key != "seconds"} for e in events]
