"""Any model: its dropout sites found, named, set and put back; Hugging Face models by name."""

from redrop.integrations.convert import Conversion, conversion_of, convert
from redrop.integrations.hugging_face import load_causal_lm
from redrop.integrations.load_object import load_object
from redrop.integrations.rates import RateChange, set_rates
from redrop.integrations.sites import SiteInfo, find_sites

__all__ = [
    "Conversion",
    "RateChange",
    "SiteInfo",
    "conversion_of",
    "convert",
    "find_sites",
    "load_causal_lm",
    "load_object",
    "set_rates",
]
