import pytest
from torch import nn

import redrop.nn
from redrop.integrations.kinds import Place, guess_kind
from redrop.models.config import DropoutRates


class Mlp(nn.Module):
    """Stands for a feed-forward block of somebody's."""


class SelfAttention(nn.Module):
    """Stands for an attention block of somebody's."""


NAMES = {
    # nanoGPT
    "transformer.drop": ("other", None),
    "transformer.h.0.attn.attn_dropout": ("attention_weights", None),
    "transformer.h.0.attn.resid_dropout": ("attention_residual", None),
    # timm
    "pos_drop": ("embedding", None),
    "blocks.3.attn.attn_drop": ("attention_weights", None),
    "blocks.3.attn.proj_drop": ("attention_residual", None),
    "blocks.3.mlp.drop1": ("feed_forward_hidden", ((2, 5, 32), 8)),
    "blocks.3.mlp.drop2": ("feed_forward_residual", ((2, 5, 8), 8)),
    # GPT-NeoX
    "layers.0.post_attention_dropout": ("attention_residual", None),
    "layers.0.post_mlp_dropout": ("feed_forward_residual", None),
    # others
    "model.embed_dropout": ("embedding", None),
    "embeddings.dropout": ("embedding", None),
    "encoder.layer.0.attention.output.dropout": ("attention_residual", None),
    "encoder.layer.0.output.dropout": ("feed_forward_residual", None),
    "layers.0.feed_forward.dropout": ("other", None),
    "layers.0.ffn.2": ("feed_forward_hidden", ((2, 5, 32), 8)),
    "layers.0.attn.dropout": ("attention_weights", ((2, 4, 5, 5), 8)),
    "layers.0.self_attn:dropout": ("attention_weights", ((2, 4, 5, 5), 8)),
    "layers.0.self_attn:dropout.2": ("attention_residual", ((2, 5, 8), 8)),
    "blocks.0.mlp.pre_activation": ("pre_activation", None),
    "classifier.0": ("other", None),
    "features.2": ("other", ((2, 5, 8), 8)),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_people_give_are_understood(name):
    kind, seen = NAMES[name]
    shape, width = seen or (None, None)
    assert guess_kind(Place(name, redrop.nn.Dropout(), None, shape, width)) == kind


@pytest.mark.parametrize("kind", DropoutRates.kinds())
def test_a_site_that_is_named_by_its_kind_is_of_it(kind):
    assert guess_kind(Place(f"blocks.0.{kind}", redrop.nn.Dropout())) == kind


@pytest.mark.parametrize(
    ("parent", "shape", "kind"),
    [
        (Mlp(), (2, 5, 32), "feed_forward_hidden"),
        (Mlp(), (2, 5, 8), "feed_forward_residual"),
        (SelfAttention(), (2, 2, 5, 5), "attention_weights"),
        (SelfAttention(), (2, 5, 8), "attention_residual"),
        (nn.Sequential(), (2, 5, 8), "other"),
    ],
)
def test_the_class_of_the_caller_tells_where_the_name_does_not(parent, shape, kind):
    assert guess_kind(Place("layer.1.dropout", redrop.nn.Dropout(), parent, shape, 8)) == kind


def test_what_comes_before_the_blocks_is_the_embedding():
    place = Place("drop", redrop.nn.Dropout(), None, (2, 5, 8), 8, comes_first=True)
    assert guess_kind(place) == "embedding"
