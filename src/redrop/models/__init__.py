"""Reference models with every dropout site in plain sight.

Only the settings are re-exported: they load no torch, so the command line can show its help at
once. The models are in `redrop.models.transformer`, sampling is in `redrop.models.generate`.
"""

from redrop.models.config import DropoutRates, TransformerConfig

__all__ = ["DropoutRates", "TransformerConfig"]
