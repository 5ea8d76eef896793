"""Which mask: from (seed, step, site, pass) to one 64-bit key."""

from redrop.errors import UsageError
from redrop.mask.philox import philox4x32_10

_FNV_OFFSET = 0xCBF29CE484222325  # FNV-1a, 64 bit: offset basis
_FNV_PRIME = 0x100000001B3  # FNV-1a, 64 bit: prime


def site_id(name: str) -> int:
    """Return the 64-bit id of a site: FNV-1a of the UTF-8 bytes of its qualified name.

    Raises:
        UsageError: The name is empty.

    >>> f"{site_id('blocks.0.attention.weights'):016x}"
    'ba5a5e6c032696a2'
    """
    if not name:
        raise UsageError("A site needs a name; got ''. Pass the module's qualified name.")
    digest = _FNV_OFFSET
    for byte in name.encode():
        digest = (digest ^ byte) * _FNV_PRIME % 2**64
    return digest


def mask_key(seed: int, step: int, site: str | int, pass_: int = 0) -> int:
    """Return the key of one mask: the first two words of philox(seed; step, pass, site).

    Args:
        seed: Of the run, 0 <= seed < 2^64.
        step: The optimizer step, 0 <= step < 2^32.
        site: A qualified name, or the id that `site_id` gives for it.
        pass_: How often this site was already used in this step, 0 <= pass < 2^32.

    Raises:
        UsageError: An integer is out of its range; nothing wraps around.

    >>> f"{mask_key(0x123456789ABCDEF0, 7, 'blocks.0.attention.weights'):016x}"
    '8b1ef9904fbd598e'
    """
    site = site_id(site) if isinstance(site, str) else site
    _check_range("seed", seed, 64)
    _check_range("step", step, 32)
    _check_range("site", site, 64)
    _check_range("pass", pass_, 32)
    low, high, _, _ = philox4x32_10(
        (step, pass_, site % 2**32, site >> 32), (seed % 2**32, seed >> 32)
    )
    return high << 32 | low


def _check_range(name: str, value: int, bits: int) -> None:
    if not 0 <= value < 2**bits:
        raise UsageError(
            f"`{name}` must lie in [0, 2^{bits}); got {value}. Nothing wraps around here: take it "
            f"modulo 2^{bits} if you mean to."
        )
