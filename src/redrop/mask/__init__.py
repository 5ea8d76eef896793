"""What a mask is: keys, sites, coordinates, the threshold, and the reference in NumPy (SPEC.md)."""

from redrop.mask.key import mask_key, site_id
from redrop.mask.philox import philox4x32_10
from redrop.mask.reference import keep_mask
from redrop.mask.replay import replay
from redrop.mask.threshold import scale, threshold
from redrop.mask.version import SPEC_VERSION
from redrop.mask.window import Window

__all__ = [
    "SPEC_VERSION",
    "Window",
    "keep_mask",
    "mask_key",
    "philox4x32_10",
    "replay",
    "scale",
    "site_id",
    "threshold",
]
