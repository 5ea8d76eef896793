"""The learning rate of each step: linear warm-up, then half a cosine, a line, or no change."""

import math

from redrop.train.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of optimizer step `step`, the first being 0.

    With W warm-up steps of N, peak L and minimum M:
    L · (step + 1) / (W + 1) while step < W, then M + (L - M) · (1 + cos(π · t)) / 2, where t runs
    from 0 at step W to 1 at step N - 1; "linear" is L + (M - L) · t, "constant" is L.

    References:
        Loshchilov, Hutter: SGDR, 2017. https://arxiv.org/abs/1608.03983

    >>> config = TrainConfig(steps=101, warmup_steps=0, learning_rate=1.0, min_learning_rate=0.5)
    >>> learning_rate(0, config), learning_rate(50, config), learning_rate(100, config)
    (1.0, 0.75, 0.5)
    """
    if step < config.warmup_steps:
        # + 1 on both sides: the first step moves the weights, and the peak comes at step W only
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return config.learning_rate
    span = config.learning_rate - config.min_learning_rate
    length = max(1, config.steps - 1 - config.warmup_steps)
    t = (step - config.warmup_steps) / length
    left = 1 - t if config.schedule == "linear" else (1 + math.cos(math.pi * t)) / 2
    return config.min_learning_rate + span * left
