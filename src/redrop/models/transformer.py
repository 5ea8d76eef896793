"""A decoder transformer, pre-norm or post-norm, with every dropout site in plain sight.

Shape legend: B batch, T tokens, C width, V vocabulary, H heads.

Sites, in the order of a forward pass: `embedding_dropout`, and in block N
`blocks.N.attention.weights`, `blocks.N.attention.residual`, `blocks.N.feed_forward.hidden`,
`blocks.N.feed_forward.residual`. A site with p = 0 returns its input: it adds no operation.
There only where their rates are positive: `token_dropout`, which acts before the position is added,
and `blocks.N.layer_drop`, `blocks.N.attention.drop_head`, `blocks.N.attention_drop_path`,
`blocks.N.feed_forward_drop_path`.
"""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from redrop.errors import UsageError
from redrop.models.block import Block, final_norm, stack, token_dropout_site
from redrop.models.config import TransformerConfig
from redrop.models.init import initialise
from redrop.nn import Dropout, SiteModule


class Transformer(nn.Module):
    """Token and learned position embedding, blocks, output layer.

    Args:
        config: Its shape and its dropout rates.
        seed: Of the initial weights. Models that differ in their rates only start from the same
            weights; torch's default generator is left as it was.

    Shape:
        tokens (B, T) of int64 in, logits (B, T, V) out; T is at most `config.context`.

    References:
        Radford et al.: Language Models are Unsupervised Multitask Learners, 2019 (GPT-2).

    >>> from redrop.models import DropoutRates, TransformerConfig
    >>> config = TransformerConfig(vocab_size=11, dropout=DropoutRates.everywhere(0.1))
    >>> model = Transformer(config, seed=0)
    >>> model(torch.zeros(2, 5, dtype=torch.int64)).shape
    torch.Size([2, 5, 11])
    """

    KINDS: ClassVar[tuple[str, ...]] = TransformerConfig.KINDS

    def __init__(self, config: TransformerConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are drawn anew below
            self.token_embedding = nn.Embedding(config.vocab_size, config.width)
            self.position_embedding = nn.Embedding(config.context, config.width)
            self.token_dropout = token_dropout_site(config.dropout.token_dropout)
            self.embedding_dropout = Dropout(config.dropout.embedding)
            self.blocks = stack(config, is_causal=True)
            self.final_norm = final_norm(config)
            self.output = nn.Linear(config.width, config.vocab_size, bias=False)
        initialise(self, config.init, seed=seed, branches=2 * config.layers)
        if config.tie_embeddings:
            self.output.weight = self.token_embedding.weight

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the token after each token."""
        x_BTC = self.embedding_dropout(self._embed(tokens_BT))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return cast(Tensor, self.output(self.final_norm(x_BTC)))

    @torch.no_grad()
    def attention_weights(self, tokens_BT: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return a layer's attention weights before and after dropout.

        In training mode all sites of the model drop what they dropped, or will drop, in the first
        forward of the step that the model is attached to: the same bits, and no pass is counted.
        In eval mode nothing is dropped, and both are the same tensor.

        Args:
            tokens_BT: The batch of that step, or any other of at most its context.
            layer: Number of the block; -1 is the last.

        Returns:
            (before, after), each (B, H, T, T): sample, head, query, key.

        Raises:
            UsageError: There is no such layer, or the tokens are too many.
        """
        if not -len(self.blocks) <= layer < len(self.blocks):
            raise UsageError(
                f"`layer` must name one of {len(self.blocks)} blocks; got {layer}. Count from 0."
            )
        # Attached sites draw a ticket from torch's generator at each use; looking must not be seen.
        with _FirstPass(self), torch.random.fork_rng(devices=[]):
            x_BTC = self.embedding_dropout(self._embed(tokens_BT))
            for block in self.blocks[: layer % len(self.blocks)]:
                x_BTC = block(x_BTC)
            block = self.blocks[layer]
            assert isinstance(block, Block)  # ModuleList forgets what it holds
            return block.attention.weights_before_and_after(block.attention_input(x_BTC))

    def _embed(self, tokens_BT: Tensor) -> Tensor:
        length = tokens_BT.shape[1]
        if length > self.config.context:
            raise UsageError(
                f"The model reads at most {self.config.context} tokens; got {length}. "
                "Crop them or build it with a larger `context`."
            )
        embedded_BTC: Tensor = self.token_dropout(self.token_embedding(tokens_BT))
        return embedded_BTC + self.position_embedding.weight[:length]


class _FirstPass:
    """Within it every site of an attached model gives the mask of its first use in the step."""

    def __init__(self, model: nn.Module) -> None:
        self._sites = [m.site for m in model.modules() if isinstance(m, SiteModule) and m.site]

    def __enter__(self) -> None:
        self._passes = [site.passes for site in self._sites]
        for site in self._sites:
            site.passes = 0

    def __exit__(self, *_: object) -> None:
        for site, passes in zip(self._sites, self._passes, strict=True):
            site.passes = passes
