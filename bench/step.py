"""A training step of the transformer, redrop's dropout beside PyTorch's: `python -m bench.step`."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.harness import compare
from redrop.models import DropoutRates, TransformerConfig
from redrop.models.attention import Attention
from redrop.models.transformer import Transformer
from redrop.nn import Dropout, attach

CASES = [
    # width, layers, heads, context, batch
    (96, 2, 4, 64, 24),
    (256, 4, 8, 512, 4),
]


class TorchAttention(nn.Module):
    """The same attention on PyTorch's own dropout and scaled_dot_product_attention."""

    def __init__(self, ours: Attention) -> None:
        super().__init__()
        self.heads = ours.heads
        self.qkv, self.output = ours.qkv, ours.output
        self.p, self.residual = ours.weights.p, nn.Dropout(ours.residual.p)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        p = self.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.residual(self.output(mixed.transpose(1, 2).flatten(2)))


def on_torch(model: Transformer) -> Transformer:
    """Put PyTorch's dropout and attention in the place of ours."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, TorchAttention(child))
            elif type(child) is Dropout:
                setattr(module, name, nn.Dropout(child.p))
    return model


def build(size: tuple[int, ...], p: float) -> Transformer:
    """Return a model of that size with dropout p at all sites, attached to a run."""
    width, layers, heads, context, _ = size
    config = TransformerConfig(
        vocab_size=96,
        width=width,
        layers=layers,
        heads=heads,
        context=context,
        dropout=DropoutRates.everywhere(p),
    )
    model = Transformer(config)
    attach(model, seed=0)
    return model


def step(model: nn.Module, optimizer: torch.optim.Optimizer, tokens: Tensor, low: bool) -> None:
    """Do a step as training does: forward, backward, clip, update."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        logits = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def main() -> None:
    """Time a step without dropout, with ours, and with PyTorch's, for one and two threads."""
    for size in CASES:
        tokens = torch.randint(96, (size[4], size[3] + 1))
        for low in (False, True):
            models = {
                "redrop, p = 0": build(size, 0.0),
                "redrop, p = 0.2 at all sites": build(size, 0.2),
                "torch, p = 0": on_torch(build(size, 0.0)),
                "torch, p = 0.2 at all sites": on_torch(build(size, 0.2)),
            }
            rivals = {
                name: partial(
                    step, model, torch.optim.AdamW(model.parameters(), fused=True), tokens, low
                )
                for name, model in models.items()
            }
            for threads in (1, 2):
                precision = "bfloat16" if low else "float32"
                case = "width {}, {} layers, {} heads, context {}, batch {}".format(*size)
                name = f"training step, {case}, {precision}, {threads} threads"
                compare("step", name, rivals, threads=threads, seconds=8)


if __name__ == "__main__":
    main()
