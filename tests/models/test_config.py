import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from redrop.errors import UsageError
from redrop.models import DropoutRates, MLPConfig, TransformerConfig, VisionTransformerConfig

CONFIGS = [
    TransformerConfig(vocab_size=5),
    VisionTransformerConfig(image_size=8, outputs=10),
    MLPConfig(features=4, outputs=3),
]
SIZES = [
    (config, name)
    for config in CONFIGS
    for name in asdict(config)
    if isinstance(getattr(config, name), int) and not isinstance(getattr(config, name), bool)
]
WORDS = [
    (config, name)
    for config in CONFIGS
    for name in asdict(config)
    if isinstance(getattr(config, name), str)
]


@pytest.mark.parametrize(("config", "name"), SIZES)
@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_a_size_is_a_positive_integer(config, name, size):
    with pytest.raises(UsageError, match=f"`{name}` must be a positive integer; got {size}"):
        replace(config, **{name: size})


def test_sizes_and_words_are_all_there_are():
    names = {name for _, name in [*SIZES, *WORDS]}
    assert {"vocab_size", "context", "patch_size", "channels", "features", "outputs"} < names
    assert {"norm", "norm_layer", "init", "network", "activation"} < names


@pytest.mark.parametrize(("config", "name"), WORDS)
def test_another_word_is_refused_with_those_that_are_known(config, name):
    with pytest.raises(UsageError, match=f"`{name}` must be \".*{getattr(config, name)}.*'both'"):
        replace(config, **{name: "both"})


@pytest.mark.parametrize("config", CONFIGS)
def test_residual_is_a_boolean(config):
    with pytest.raises(UsageError, match="`residual` must be True or False; got 'no'"):
        replace(config, residual="no")


@pytest.mark.parametrize("config", CONFIGS[:2])
def test_heads_divide_the_width(config):
    with pytest.raises(UsageError, match=r"5 heads and width 96\. Pass a width of 100\."):
        replace(config, heads=5, width=96)


def test_patches_cover_the_image():
    with pytest.raises(UsageError, match="patches of 3 and images of 8"):
        VisionTransformerConfig(image_size=8, outputs=10, patch_size=3)
    assert VisionTransformerConfig(image_size=8, outputs=10, patch_size=4).patches == 4


@pytest.mark.parametrize("change", [{"norm_layer": "rmsnorm"}, {"residual": False}])
def test_the_old_network_takes_nothing_of_the_modern_one(change):
    with pytest.raises(UsageError, match="neither norm nor residual connection"):
        MLPConfig(features=4, outputs=3, network="old", **change)


def test_that_the_old_network_has_no_norm_may_be_said():
    assert MLPConfig(features=4, outputs=3, network="old", norm_layer="none").norm_layer == "none"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_norm_layer_that_is_not_known_is_refused_with_all_that_are(config):
    words = '`norm_layer` must be "layernorm", "rmsnorm" or "none"; got \'batchnorm\''
    with pytest.raises(UsageError, match=words):
        replace(config, norm_layer="batchnorm")


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (CONFIGS[0], "pre_activation"),
        (CONFIGS[1], "pre_activation"),
        (CONFIGS[2], "attention_weights"),
        (replace(CONFIGS[2], network="old"), "drop_path"),
    ],
)
def test_a_rate_for_a_site_that_is_not_there_is_refused(config, kind):
    with pytest.raises(UsageError, match=f"got `{kind}`.*feed_forward_hidden"):
        replace(config, dropout=DropoutRates(**{kind: 0.1}))


@pytest.mark.parametrize("config", CONFIGS)
def test_without_residual_connection_no_branch_is_dropped(config):
    with pytest.raises(UsageError, match="`drop_path` needs residual connections"):
        replace(config, residual=False, dropout=DropoutRates(drop_path=0.1))


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


def test_a_config_that_knew_fewer_settings_has_their_defaults():
    rates = dict.fromkeys(DropoutRates.sites(), 0.25)
    stored = {"vocab_size": 5, "width": 96, "norm": "post", "dropout": rates}
    config = TransformerConfig(vocab_size=5, norm="post", dropout=DropoutRates.everywhere(0.25))
    assert TransformerConfig.from_json(stored) == config


def test_settings_load_no_torch():
    code = "import sys, redrop.models, redrop.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
