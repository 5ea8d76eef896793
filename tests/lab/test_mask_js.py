"""The page's mask is the mask: JavaScript against the test vectors and the Python reference."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from redrop.mask import Window, mask_key, philox4x32_10, replay, scale, site_id, threshold
from tests.lab.conftest import STATIC

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "mask-v1.json").read_text(encoding="utf-8")
)

# Recompute each mask; list what differs from what Python says.
CHECK = """
const hex = (value) => value.toString(16).padStart(16, "0");
function differences(masks, { keepMask, maskKey, siteId, threshold }, maskHash) {
  const wrong = [];
  for (const [index, mask] of masks.entries()) {
    const site = siteId(mask.site);
    const key = maskKey(BigInt("0x" + mask.seed), mask.step, site, mask.pass);
    const keep = keepMask(key, mask.p, mask.shape, mask);
    const got = { site_id: hex(site), mask_key: hex(key), threshold: threshold(mask.p),
                  keep: Array.from(keep).join(""), sha256: maskHash(keep) };
    for (const name of Object.keys(got)) {
      if (mask[name] != null && got[name] !== mask[name]) wrong.push(`${index} ${name}`);
    }
  }
  return wrong;
}
"""
IN_NODE = (
    f"import * as mask from '{STATIC}/js/core/mask.js';\n"
    f"import {{ maskHash, sha256 }} from '{STATIC}/js/core/sha256.js';\n" + CHECK
)


def drawn_masks(count: int) -> list[dict[str, Any]]:
    """Masks with drawn integers, shapes, windows and shared dimensions, as Python makes them."""
    draw = random.Random(20)
    made = []
    for _ in range(count):
        shape = tuple(draw.choice((1, 2, 3, 5, 8, 17, 40)) for _ in range(draw.randint(0, 4)))
        if np.prod(shape) > 4000:
            continue
        offset = tuple(draw.choice((0, 0, 3, 1000, 70_001)) for _ in shape)
        sizes = tuple(
            n + first + draw.randint(0, 9) for n, first in zip(shape, offset, strict=True)
        )
        if np.prod([float(size) for size in sizes[:-2]]) >= 2**32:
            continue
        shared = tuple(dim for dim in range(len(shape)) if draw.random() < 0.2)
        # 1e-4 and 1 - 1e-4 make the high half-words meet the threshold often
        p = draw.choice((0.0, 1.0, 0.1, 0.5, draw.random(), 1e-4, 1 - 1e-4))
        seed, step, pass_ = (
            draw.getrandbits(64),
            draw.getrandbits(32),
            draw.choice((0, 1, 2**32 - 1)),
        )
        site = draw.choice(("Dropout", "blocks.0.attention.weights", "größe.Ω", "a" * 90))
        keep = replay(
            seed=seed, step=step, site=site, p=p, shape=shape, pass_=pass_,
            window=Window(sizes, offset), shared=shared,
        )  # fmt: skip
        text = "".join(map(str, keep.astype(int).ravel()))
        made.append(
            {
                "seed": f"{seed:016x}", "step": step, "pass": pass_, "site": site, "p": p,
                "site_id": f"{site_id(site):016x}",
                "mask_key": f"{mask_key(seed, step, site, pass_):016x}",
                "threshold": threshold(p), "shape": shape, "sizes": sizes, "offset": offset,
                "shared": shared, "keep": text,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            }
        )  # fmt: skip
    return made


def test_the_test_vectors_hold_in_node(node: Callable[..., Any]) -> None:
    wrong = node(IN_NODE + "give(differences(input, mask, maskHash));", VECTORS["masks"])
    assert len(VECTORS["masks"]) >= 12
    assert wrong == []


def test_drawn_masks_equal_the_python_reference_in_node(node: Callable[..., Any]) -> None:
    masks = drawn_masks(400)
    assert len(masks) > 150
    assert node(IN_NODE + "give(differences(input, mask, maskHash));", masks) == []


def test_ties_in_one_row_are_each_broken_by_their_own_low_half(node: Callable[..., Any]) -> None:
    """One element in 65,536 needs its low half-word: several in a row this long."""
    size, p = 400_000, 0.3
    keep = replay(seed=8, step=1, site="long", p=p, shape=(size,))
    text = "".join(map(str, keep.astype(int)))
    mask = {
        "seed": f"{8:016x}", "step": 1, "pass": 0, "site": "long", "p": p, "shape": [size],
        "sizes": [size], "offset": [0], "shared": [],
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }  # fmt: skip
    assert node(IN_NODE + "give(differences(input, mask, maskHash));", [mask]) == []


def test_masks_in_chromium_equal_vectors_and_reference(open_page: Callable[..., Page]) -> None:
    page = open_page("/")
    script = (
        "async (masks) => {"
        + CHECK
        + """
        const mask = await import("/js/core/mask.js");
        const { maskHash } = await import("/js/core/sha256.js");
        return differences(masks, mask, maskHash);
        }"""
    )
    assert page.evaluate(script, VECTORS["masks"] + drawn_masks(300)) == []


def test_philox_and_scale_equal_python(node: Callable[..., Any]) -> None:
    draw = random.Random(1)
    counters = [[draw.getrandbits(32) for _ in range(6)] for _ in range(200)]
    counters += [[0] * 6, [2**32 - 1] * 6]
    rates = [draw.random() for _ in range(200)] + [0.0, 1.0, 0.1, 2**-32, 2**-33]
    body = IN_NODE + (
        "const out = new Uint32Array(4);\n"
        "give([input[0].map((words) => { mask.philox(...words, out); return [...out]; }),\n"
        "      input[1].map((p) => mask.scale(mask.threshold(p)))]);"
    )
    words, scales = node(body, [counters, rates])
    assert words == [list(philox4x32_10((a, b, c, d), (e, f))) for a, b, c, d, e, f in counters]
    assert scales == [scale(threshold(p)) for p in rates]


def test_sha256_equals_hashlib(node: Callable[..., Any]) -> None:
    texts = ["", "abc", "a" * 55, "a" * 56, "a" * 63, "a" * 64, "a" * 1000, "10" * 4000]
    hashes = node(IN_NODE + "give(input.map((text) => sha256(text)));", texts)
    assert hashes == [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def test_the_twin_is_short_and_stands_alone() -> None:
    lines = (STATIC / "js" / "core" / "mask.js").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 100
    assert not any(line.startswith("import") for line in lines)
