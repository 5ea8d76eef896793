"""What keeps a model from memorizing, apart from dropout itself.

Only the dropout schedule is re-exported: it loads no torch, so that settings can be read without.
The rest is imported from its module: `r_drop`, `entropy_penalty`, `l2`, `clipping`,
`weight_average`.
"""

from redrop.regularize.dropout_schedule import DropoutSchedule, parse_dropout_schedule

__all__ = ["DropoutSchedule", "parse_dropout_schedule"]
