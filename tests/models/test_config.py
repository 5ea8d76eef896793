import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from redrop.errors import UsageError
from redrop.models import DropoutRates, TransformerConfig

SITES = (
    "embedding",
    "attention_weights",
    "attention_residual",
    "feed_forward_hidden",
    "feed_forward_residual",
)


def test_rates_are_zero_until_they_are_given():
    assert DropoutRates().active == ()
    assert DropoutRates.sites() == SITES


def test_everywhere_means_every_site():
    assert asdict(DropoutRates.everywhere(0.25)) == dict.fromkeys(SITES, 0.25)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("p", [1.5, -0.1, float("nan"), float("inf")])
def test_a_rate_outside_0_to_1_is_refused_with_its_name(site, p):
    with pytest.raises(UsageError, match=f"`{site}`.*\\[0, 1\\]; got {p}"):
        DropoutRates(**{site: p})


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_the_range_are_allowed(p):
    assert DropoutRates.everywhere(p).embedding == p


@pytest.mark.parametrize("name", ["vocab_size", "width", "layers", "heads", "context"])
@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_a_size_is_a_positive_integer(name, size):
    with pytest.raises(UsageError, match=f"`{name}` must be a positive integer; got {size}"):
        replace(TransformerConfig(vocab_size=5), **{name: size})


def test_heads_divide_the_width():
    with pytest.raises(UsageError, match=r"5 heads and width 96\. Pass a width of 100\."):
        TransformerConfig(vocab_size=5, heads=5)


def test_norm_is_pre_or_post():
    with pytest.raises(UsageError, match='"pre" or "post"; got \'both\''):
        TransformerConfig(vocab_size=5, norm="both")


def test_a_config_comes_back_from_json():
    config = TransformerConfig(
        vocab_size=5, norm="post", tie_embeddings=True, dropout=DropoutRates(embedding=0.125)
    )
    assert TransformerConfig.from_json(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("change", [{"depth": 3}, {"dropout": {"head": 0.1}}, {"dropout": None}])
def test_a_config_of_another_version_is_refused(change):
    stored = {**asdict(TransformerConfig(vocab_size=5)), **change}
    with pytest.raises(UsageError, match="written by another version"):
        TransformerConfig.from_json(stored)


def test_settings_load_no_torch():
    code = "import sys, redrop.models, redrop.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
