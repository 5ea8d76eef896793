"""A small vision transformer: an image as a sequence of patches.

Shape legend: B batch, K colour channels, S image size, T patches, P numbers of a patch, C width.

Sites, in the order of a forward pass: `token_dropout`, `embedding_dropout`, and in block N those of
the decoder transformer. Sites of kinds that drop something larger than an element are there only
where their rates are positive.
"""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redrop.errors import UsageError
from redrop.models.block import final_norm, stack, token_dropout_site
from redrop.models.config import VisionTransformerConfig
from redrop.models.init import initialise
from redrop.nn import Dropout


class VisionTransformer(nn.Module):
    """Patches, their linear embedding and learned positions, blocks, mean over patches, classes.

    Every patch sees every other. The classes are read from the mean of the patches, as Beyer et al.
    do, not from a token of their own: then nothing depends on one token being kept.

    Args:
        config: Its shape and its dropout rates.
        seed: Of the initial weights. Models that differ in their rates only start from the same
            weights; torch's default generator is left as it was.

    Shape:
        images (B, K, S, S) in, logits (B, outputs) out.

    Raises:
        UsageError: The images have another shape.

    References:
        Dosovitskiy et al.: An Image is Worth 16x16 Words, 2021. https://arxiv.org/abs/2010.11929
        Beyer, Zhai, Kolesnikov: Better plain ViT baselines for ImageNet-1k, 2022 (mean instead of a
        class token). https://arxiv.org/abs/2205.01580

    >>> config = VisionTransformerConfig(image_size=8, outputs=10)
    >>> VisionTransformer(config)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    KINDS: ClassVar[tuple[str, ...]] = VisionTransformerConfig.KINDS

    def __init__(self, config: VisionTransformerConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        numbers = config.channels * config.patch_size**2
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are drawn anew below
            self.patch_embedding = nn.Linear(numbers, config.width)
            self.position_embedding = nn.Embedding(config.patches, config.width)
            self.token_dropout = token_dropout_site(config.dropout.token_dropout)
            self.embedding_dropout = Dropout(config.dropout.embedding)
            self.blocks = stack(config, is_causal=False)
            self.final_norm = final_norm(config)
            self.output = nn.Linear(config.width, config.outputs)
        initialise(self, config.init, seed=seed, branches=2 * config.layers)

    def forward(self, images_BKSS: Tensor) -> Tensor:
        """Return the logits of each image's class."""
        embedded_BTC = self.token_dropout(self.patch_embedding(self._patches(images_BKSS)))
        x_BTC = self.embedding_dropout(embedded_BTC + self.position_embedding.weight)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return cast(Tensor, self.output(self.final_norm(x_BTC).mean(1)))

    def _patches(self, images_BKSS: Tensor) -> Tensor:
        """Return (B, T, P): patches in reading order, in each the channels one after another."""
        config = self.config
        expected = (config.channels, config.image_size, config.image_size)
        if images_BKSS.dim() != 4 or tuple(images_BKSS.shape[1:]) != expected:
            raise UsageError(
                f"The model reads images of shape (batch, {', '.join(map(str, expected))}); got "
                f"{tuple(images_BKSS.shape)}. Build it with their `image_size` and `channels`."
            )
        patches_BPT = F.unfold(images_BKSS, config.patch_size, stride=config.patch_size)
        return patches_BPT.transpose(1, 2)
