"""SPEC.md once more, word by word in plain integers, to write and to judge the test vectors.

It shares no line with the package: a second reading of the specification, one element at a time.
Run `python -m tests.vectors.definition` to rewrite mask-v1.json.
"""

import hashlib
import itertools
import json
from fractions import Fraction
from pathlib import Path

FILE = Path(__file__).with_name("mask-v1.json")


def philox(c: list[int], k: list[int]) -> list[int]:
    x, key = list(c), list(k)
    for _ in range(10):
        a, b = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(b >> 32) ^ x[1] ^ key[0], b & 0xFFFFFFFF, (a >> 32) ^ x[3] ^ key[1], a & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return x


def fnv1a(name: str) -> int:
    h = 14695981039346656037
    for byte in name.encode():
        h = ((h ^ byte) * 1099511628211) & (2**64 - 1)
    return h


def key_of_mask(seed: int, step: int, pass_: int, name: str) -> int:
    site = fnv1a(name)
    w = philox([step, pass_, site & 0xFFFFFFFF, site >> 32], [seed & 0xFFFFFFFF, seed >> 32])
    return w[0] + (w[1] << 32)


def is_kept(key: int, p: float, plane: int, row: int, col: int) -> bool:
    def half(tag: int) -> int:
        words = philox([col // 8, row, plane, tag], [key & 0xFFFFFFFF, key >> 32])
        halves = [h for w in words for h in (w & 0xFFFF, w >> 16)]
        return halves[col % 8]

    return (half(0) << 16 | half(1)) >= int(Fraction(p) * 2**32)


def keep_bits(
    key: int, p: float, shape: list[int], sizes: list[int], offset: list[int], shared: list[int]
) -> str:
    bits = []
    for local in itertools.product(*(range(n) for n in shape)):
        at = [0 if d in shared else i + offset[d] for d, i in enumerate(local)]
        plane = 0
        for i, size in list(zip(at, sizes, strict=True))[:-2]:
            plane = plane * size + i
        row = at[-2] if len(at) > 1 else 0
        bits.append(is_kept(key, p, plane, row, at[-1] if at else 0))
    return "".join("1" if bit else "0" for bit in bits)


MOST = [2**32, 2**32, 2**35]
LAST = [2**32 - 1, 2**32 - 1, 2**35 - 20]
CASES = [
    # seed, step, pass, site, p, shape, sizes, offset, shared
    (0, 0, 0, "dropout", 0.5, [10], None, None, []),
    (0x123456789ABCDEF0, 7, 0, "blocks.0.attention.weights", 0.1, [2, 2, 5, 9], None, None, []),
    (2**64 - 1, 2**32 - 1, 2**32 - 1, "größe.Ω", 0.3, [3, 17], None, None, []),
    (1, 2, 3, "embedding_dropout", 0.25, [2, 3, 20], [8, 7, 40], [5, 4, 13], []),
    (1, 2, 3, "path", 0.5, [12, 3, 4], None, None, [1, 2]),
    (5, 9, 0, "channels", 0.4, [2, 24, 3, 3], None, None, [2, 3]),
    (
        11,
        1,
        0,
        "edge",
        0.9,
        [1, 1, 20],
        [2**32, 2**32, 2**35],
        [2**32 - 1, 2**32 - 1, 2**35 - 20],
        [],
    ),
    (4, 4, 0, "scalar", 0.5, [], None, None, []),
    (4, 4, 0, "empty", 0.5, [0, 3], None, None, []),
    (8, 0, 0, "rare", 2.0**-16 * 3 + 2.0**-17, [64, 64], None, None, []),
    (8, 0, 1, "certain", 1.0, [9], None, None, []),
    (8, 0, 2, "never", 0.0, [9], None, None, []),
]


def vectors() -> dict[str, object]:
    masks = []
    for seed, step, pass_, site, p, shape, sizes, offset, shared in CASES:
        sizes, offset = sizes or shape, offset or [0] * len(shape)
        key = key_of_mask(seed, step, pass_, site)
        bits = keep_bits(key, p, shape, sizes, offset, shared)
        masks.append(
            {
                "seed": f"{seed:016x}",
                "step": step,
                "pass": pass_,
                "site": site,
                "site_id": f"{fnv1a(site):016x}",
                "mask_key": f"{key:016x}",
                "p": p,
                "threshold": int(Fraction(p) * 2**32),
                "shape": shape,
                "sizes": sizes,
                "offset": offset,
                "shared": shared,
                "keep": bits if len(bits) <= 256 else None,
                "sha256": hashlib.sha256(bits.encode()).hexdigest(),
            }
        )
    return {"spec_version": 1, "keep": "row-major, 1 = kept; sha256 of that text", "masks": masks}


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
