"""What tests of the block view share: its address, its modules, and a site shown on the page."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page, expect

from redrop.mask import replay
from redrop.models import DropoutRates, MLPConfig
from tests.lab.conftest import STATIC
from tests.lab.mask_hash import mask_hash

BLOCK = "/#v=1&view=block"
NETWORKS = ("old", "modern")
SITES_JS = f"import {{ NETWORKS }} from '{STATIC}/js/core/sites.js';\n"
MASK_JS = f"import {{ keepMask, maskKey, siteId }} from '{STATIC}/js/core/mask.js';\n"
TEXT_JS = (
    f"import {{ asCommand, asPython, recipeName, TASKS }} from '{STATIC}/js/core/config_text.js';\n"
)
STATE_JS = f"import {{ createState, fromHash, toHash, KINDS }} from '{STATIC}/js/core/state.js';\n"


def config_of(network: str, rates: dict[str, float], **shape: int) -> MLPConfig:
    shape = {"features": 3, "outputs": 2, **shape}
    return MLPConfig(network=network, dropout=DropoutRates(**rates), **shape)  # type: ignore[arg-type]


def check_chosen(page: Page, button: Locator, kind: str, told: Mapping[str, Any]) -> np.ndarray:
    """Choose a site by key; the page must show the reference's mask at p 0.4, seed 5, step 8."""
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".rd-facts code")).to_have_text(told["path"])
    expect(page.locator(".rd-facts samp")).to_have_text(kind)
    mask = told["mask"]
    shared = mask.get("shared", ())
    kept = replay(seed=5, step=8, site=told["path"], p=0.4, shape=mask["shape"], shared=shared)
    expect(page.locator(".rd-hash-value")).to_have_text(mask_hash(kept))
    return kept
