from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.models.rates import DropoutRates
from redrop.tasks.configure import configure
from redrop.train.recipe import Recipe

CONFIGS = (
    TransformerConfig(vocab_size=7, width=12, layers=1, heads=2),
    VisionTransformerConfig(image_size=8, outputs=3, width=12, heads=2),
    MLPConfig(features=4, outputs=3),
    MLPConfig(features=4, outputs=3, network="old"),
)
SHAPES = {"vocab_size", "context", "image_size", "channels", "features", "outputs", "dropout"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@given(p=st.floats(0, 1))
def test_all_is_every_site_that_drops_elements(config, p):
    elementwise = {*DropoutRates.sites(), "pre_activation"} & {*config.kinds}
    changed = configure(config, Recipe(name="r", dropout={"all": p}))
    assert changed == replace(config, dropout=DropoutRates(**dict.fromkeys(elementwise, p)))
    assert elementwise


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_recipe_without_changes_leaves_the_network_without_dropout(config):
    assert configure(config, Recipe(name="none")) == config
    kind = config.kinds[0]
    dropped = replace(config, dropout=DropoutRates(**{kind: 0.5}))
    assert configure(dropped, Recipe(name="none")) == config


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_rates_of_each_kind_arrive_at_their_kind(config):
    for number, kind in enumerate(config.kinds, start=1):
        p = number / 20
        changed = configure(config, Recipe(name="r", dropout={kind: p}))
        assert asdict(changed.dropout) == dict.fromkeys(DropoutRates.kinds(), 0.0) | {kind: p}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_sites_that_a_network_lacks_are_passed_over_unless_there_is_no_other(config):
    lacking = [kind for kind in DropoutRates.kinds() if kind not in config.kinds]
    has = config.kinds[0]
    for kind in lacking:
        with pytest.raises(UsageError, match=f"drops at {kind}, none of which this network has"):
            configure(config, Recipe(name="r", dropout={kind: 0.1}))
        changed = configure(config, Recipe(name="r", dropout={kind: 0.1, has: 0.2}))
        assert changed.dropout == DropoutRates(**{has: 0.2})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_the_shape_of_data_is_no_setting_of_a_recipe(config):
    own = {member.name for member in fields(config)}
    for name in (*SHAPES, "depth"):
        with pytest.raises(UsageError, match=f"Recipe 'r' changes `{name}`, which this network"):
            configure(config, Recipe(name="r", model={name: 3}))
    changed = configure(config, Recipe(name="r", model={"layers": 3, "init": "xavier"}))
    assert changed == replace(config, layers=3, init="xavier")
    assert {"layers", "init"} < own - SHAPES


@pytest.mark.parametrize(("manner", "norm"), [("old", "post"), ("modern", "pre")])
def test_a_manner_of_a_transformer_is_its_norm_and_can_be_overridden(manner, norm):
    for config in CONFIGS[:2]:
        recipe = Recipe(name="r", model={"network": manner})
        assert configure(config, recipe) == replace(config, norm=norm)
        other = Recipe(name="r", model={"norm": "pre", "network": manner})
        assert configure(config, other) == config
    with pytest.raises(UsageError, match='`network` must be "old" or "modern"; got .new.'):
        configure(CONFIGS[0], Recipe(name="r", model={"network": "new"}))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_any_network_may_be_without_norm(config):
    recipe = Recipe(name="r", dropout={"all": 0.1}, model={"norm_layer": "none"})
    assert configure(config, recipe).norm_layer == "none"
    assert (
        configure(config, recipe).dropout
        == configure(config, Recipe(name="r", dropout={"all": 0.1})).dropout
    )


def test_a_changed_network_has_the_sites_of_what_it_became():
    old = configure(CONFIGS[2], Recipe(name="r", dropout={"all": 0.5}, model={"network": "old"}))
    assert old.dropout == DropoutRates(pre_activation=0.5, feed_forward_hidden=0.5)
    with pytest.raises(UsageError, match="neither norm nor residual"):
        configure(CONFIGS[3], Recipe(name="r", model={"norm_layer": "rmsnorm"}))
    with pytest.raises(UsageError, match="`drop_path` needs residual connections"):
        configure(
            CONFIGS[0], Recipe(name="r", dropout={"drop_path": 0.1}, model={"residual": False})
        )
