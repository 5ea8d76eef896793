"""Sampling from a language model.

Shape legend: B batch, T tokens, V vocabulary.
"""

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.models.mode import eval_mode
from redrop.models.transformer import Transformer


def generate(
    model: Transformer,
    tokens_BT: Tensor,
    count: int,
    *,
    seed: int,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Tensor:
    """Continue each row of tokens by `count` sampled ones.

    The next token is drawn from softmax(logits / temperature) over the `top_k` likeliest. The model
    runs in eval mode whatever its mode is, and has its mode back afterwards. Of a long text it
    reads the last `context` tokens.

    Args:
        model: Its dropout does not act here.
        tokens_BT: What to continue; at least one token a row.
        count: Number of tokens to add.
        seed: Decides the samples; torch's default generator is not touched.
        temperature: 0 takes the likeliest token each time.
        top_k: Number of candidates; by default the whole vocabulary.

    Returns:
        (B, T + count), the given tokens first.

    Raises:
        UsageError: No token to start from, or an argument is out of range.

    >>> from redrop.models import TransformerConfig
    >>> model = Transformer(TransformerConfig(vocab_size=5, context=4))
    >>> generate(model, torch.zeros(1, 1, dtype=torch.int64), 8, seed=0).shape
    torch.Size([1, 9])
    """
    _check(model, tokens_BT, count, temperature, top_k)
    generator = torch.Generator(device=tokens_BT.device).manual_seed(seed)
    with eval_mode(model):
        for _ in range(count):
            logits_BV = model(tokens_BT[:, -model.config.context :])[:, -1].float()
            next_B1 = _choose(logits_BV, temperature, top_k, generator)
            tokens_BT = torch.cat((tokens_BT, next_B1), dim=1)
    return tokens_BT


def _choose(
    logits_BV: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> Tensor:
    if temperature == 0:
        return logits_BV.argmax(-1, keepdim=True)
    if top_k is not None:
        least_B1 = logits_BV.topk(min(top_k, logits_BV.shape[-1])).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least_B1, -torch.inf)
    # The maximum is taken off first: a tiny temperature must not make an infinity of it.
    scaled_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)) / temperature
    return torch.multinomial(scaled_BV.softmax(-1), 1, generator=generator)


def _check(
    model: Transformer, tokens_BT: Tensor, count: int, temperature: float, top_k: int | None
) -> None:
    if tokens_BT.dim() != 2 or tokens_BT.shape[1] == 0:
        raise UsageError(
            "`tokens` must be (batch, length) with at least one token a row; got shape "
            f"{tuple(tokens_BT.shape)}. Start with a line break if there is no prompt."
        )
    vocab_size = model.config.vocab_size
    if tokens_BT.numel() and not 0 <= int(tokens_BT.min()) <= int(tokens_BT.max()) < vocab_size:
        raise UsageError(
            f"`tokens` must lie in [0, {vocab_size}), the model's vocabulary; got "
            f"{int(tokens_BT.min())} to {int(tokens_BT.max())}. Use the model's own tokenizer."
        )
    if count < 0:
        raise UsageError(f"`count` must not be negative; got {count}.")
    if not 0 <= temperature < float("inf"):
        raise UsageError(
            f"`temperature` must be a finite number of at least 0; got {temperature}. "
            "1 samples as the model says, 0 takes the likeliest token."
        )
    if top_k is not None and top_k < 1:
        raise UsageError(f"`top_k` must be at least 1; got {top_k}. Leave it out to allow all.")
