"""Training: one short loop, its settings, checkpoints and exact resume.

Only the settings are re-exported: they load no torch, so the command line can show its help at
once. The loop is `redrop.train.loop.train`.
"""

from redrop.train.config import TrainConfig

__all__ = ["TrainConfig"]
