"""The hash by which the page names a mask."""

import hashlib

import numpy as np


def mask_hash(keep: np.ndarray) -> str:
    """Return the SHA-256 of a mask written as 0 and 1, in C order."""
    return hashlib.sha256("".join(map(str, keep.astype(int).ravel())).encode()).hexdigest()
