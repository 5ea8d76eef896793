"""Modules in the manner of torch.nn whose masks are replayable."""

from redrop.nn.alpha_dropout import AlphaDropout, FeatureAlphaDropout
from redrop.nn.attach import attach
from redrop.nn.attention_dropout import AttentionDropout
from redrop.nn.concrete_dropout import ConcreteDropout, learn_rates
from redrop.nn.drop_connect import DropConnect
from redrop.nn.drop_head import DropHead
from redrop.nn.drop_path import DropPath, drop_path_rates
from redrop.nn.dropout import Dropout
from redrop.nn.feature_dropout import Dropout1d, Dropout2d, Dropout3d
from redrop.nn.gaussian_dropout import GaussianDropout
from redrop.nn.layer_drop import LayerDrop
from redrop.nn.locked_dropout import LockedDropout
from redrop.nn.mc_dropout import McPrediction, mc_predict
from redrop.nn.module import SiteModule
from redrop.nn.multihead_attention import MultiheadAttention
from redrop.nn.rates import Rates
from redrop.nn.replay import replay
from redrop.nn.site import NextMask
from redrop.nn.state import RunState
from redrop.nn.token_dropout import TokenDropout

__all__ = [
    "AlphaDropout",
    "AttentionDropout",
    "ConcreteDropout",
    "DropConnect",
    "DropHead",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "LayerDrop",
    "LockedDropout",
    "McPrediction",
    "MultiheadAttention",
    "NextMask",
    "Rates",
    "RunState",
    "SiteModule",
    "TokenDropout",
    "attach",
    "drop_path_rates",
    "learn_rates",
    "mc_predict",
    "replay",
]
