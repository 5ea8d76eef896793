"""The rival of the study benchmark: a small GPT and its training loop in plain PyTorch.

Written as one writes it by hand: nn.Dropout, F.scaled_dot_product_attention, AdamW, one run after
the other on all cores. It takes initial weights and batches from redrop, so that both answer the
same question about the same numbers.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redrop.data import Corpus, batch
from redrop.data.batch import eval_batches
from redrop.models import TransformerConfig
from redrop.train import TrainConfig


class Block(nn.Module):
    """Pre-norm attention and feed-forward, with dropout where GPT-2's description has it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, rates = config.width, config.dropout
        self.heads, self.p = config.heads, rates.attention_weights
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.attention_residual = nn.Dropout(rates.attention_residual)
        self.hidden = nn.Dropout(rates.feed_forward_hidden)
        self.residual = nn.Dropout(rates.feed_forward_residual)

    def forward(self, x: Tensor) -> Tensor:
        batch_size, tokens, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch_size, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        p = self.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(batch_size, tokens, width)
        x = x + self.attention_residual(self.output(mixed))
        hidden = self.hidden(F.gelu(self.expand(self.feed_forward_norm(x))))
        return x + self.residual(self.contract(hidden))


class PlainGPT(nn.Module):
    """The decoder of `redrop.models`, in plain PyTorch."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.embedding_dropout = nn.Dropout(config.dropout.embedding)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        x = self.embedding_dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.final_norm(x))

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of redrop's transformer."""
        parameters = list(self.named_parameters())
        assert len(parameters) == len(weights)
        with torch.no_grad():
            for name, parameter in parameters:
                parameter.copy_(weights[_name_of(name)])


def _name_of(name: str) -> str:
    places = {
        ".qkv.": ".attention.qkv.",
        ".output.": ".attention.output.",
        ".expand.": ".feed_forward.expand.",
        ".contract.": ".feed_forward.contract.",
        "head.": "output.",
    }
    for ours, theirs in places.items():
        if ours in name:
            return name.replace(ours, theirs)
    return name


def train_plain(model: PlainGPT, config: TrainConfig, corpus: Corpus, context: int) -> float:
    """Train; return the loss on test data with the weights of the best validation loss."""
    torch.manual_seed(config.seed)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    best, best_weights = math.inf, {}
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, config)
        inputs, targets = batch(
            corpus.train,
            seed=config.seed,
            step=step,
            batch_size=config.batch_size,
            context=context,
        )
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
            _loss(model, corpus.train, context, config.eval_tokens)
            loss_now = _loss(model, corpus.validation, context, config.eval_tokens)
            if loss_now < best:
                best = loss_now
                best_weights = {n: p.detach().clone() for n, p in model.state_dict().items()}
    model.load_state_dict(best_weights)
    return _loss(model, corpus.test, context, config.eval_tokens)


@torch.no_grad()
def _loss(model: PlainGPT, tokens: Tensor, context: int, limit: int) -> float:
    model.eval()
    total, count = 0.0, 0
    for inputs, targets in eval_batches(tokens, context, 32, limit):
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        total, count = total + loss.item() * targets.numel(), count + targets.numel()
    model.train()
    return total / count


def _learning_rate(step: int, config: TrainConfig) -> float:
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    span = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * (1 + math.cos(math.pi * progress)) / 2
