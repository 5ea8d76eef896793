"""The arm in plain PyTorch: what it has a layer or an argument for, and what it has not."""

from redrop.report.paste.chosen import Chosen
from redrop.report.paste.no_equivalent import no_equivalent
from redrop.train.recipe import EVERYWHERE

BETAS = (0.9, 0.99)
"""Of AdamW and Adam in redrop.train.optimizer, which loads torch."""
MOMENTUM = 0.9
"""Of SGD there."""

_OPTIMIZERS = {
    "adamw": ("AdamW", f"betas={BETAS!r}"),
    "adam": ("Adam", f"betas={BETAS!r}"),
    "sgd": ("SGD", f"momentum={MOMENTUM!r}"),
}

_LAYERS = {
    "embedding": "on the sum of token and position embedding",
    "attention_residual": "on what attention returns, before it is added",
    "feed_forward_hidden": "in the feed-forward block, after the activation function",
    "feed_forward_residual": "on what the feed-forward block returns, before it is added",
    "pre_activation": "before each activation function",
}


def pytorch(chosen: Chosen) -> str:
    """Return Python for a `model` of the reader's own."""
    parts = ["import math\n\nimport torch\nfrom torch import nn", _sites(chosen)]
    parts += [_optimizer(chosen), _schedule(chosen), _loss(chosen), _step(chosen)]
    rest = no_equivalent(chosen)
    if rest:
        lines = "\n".join(f"# - {line}" for line in rest)
        parts.append(f"# Not in the code above:\n{lines}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _sites(chosen: Chosen) -> str:
    if chosen.has_own_rates:
        return "# Dropout: the model's own, unchanged."
    if chosen.spec.network == "module" and set(chosen.recipe.dropout) <= {EVERYWHERE}:
        return (
            "# Attention's own dropout and calls of F.dropout are not reached by this;\n"
            "# redrop.integrations.set_rates sets them, too.\n"
            "for layer in model.modules():\n"
            "    if isinstance(layer, nn.Dropout):\n"
            f"        layer.p = {chosen.recipe.dropout.get(EVERYWHERE, 0.0)!r}"
        )
    lines = [
        f"{kind}_dropout = nn.Dropout({chosen.rates[kind]!r})  # {place}"
        for kind, place in _LAYERS.items()
        if kind in chosen.rates
    ]
    if "attention_weights" in chosen.rates:
        lines += [
            "# F.scaled_dot_product_attention(…, dropout_p=…), in training only: 0.0 in evaluation",
            f"attention_dropout_p = {chosen.rates['attention_weights']!r}",
        ]
    if not lines:
        return "" if chosen.rates or chosen.patterns else "# No dropout: p = 0 at every site."
    return "# One object may stand in every block: dropout has no weights.\n" + "\n".join(lines)


def _optimizer(chosen: Chosen) -> str:
    train = chosen.train
    name, own = _OPTIMIZERS[train.optimizer]
    return (
        "# Decay pulls matrices and embeddings, not biases and norms.\n"
        "matrices = [p for p in model.parameters() if p.dim() >= 2]\n"
        "others = [p for p in model.parameters() if p.dim() < 2]\n"
        f"optimizer = torch.optim.{name}(\n"
        f'    [{{"params": matrices, "weight_decay": {train.weight_decay!r}}},\n'
        '     {"params": others, "weight_decay": 0.0}],\n'
        f"    lr={train.learning_rate!r}, {own},\n"
        ")"
    )


def _schedule(chosen: Chosen) -> str:
    """Return the schedule as a factor of the peak, the formula of redrop.train.schedule."""
    train = chosen.train
    least = train.min_learning_rate / train.learning_rate
    length = max(1, train.steps - 1 - train.warmup_steps)
    after = {
        "constant": "1.0",
        "linear": f"1 - {1 - least!r} * t",
        "cosine": f"{least!r} + {1 - least!r} * (1 + math.cos(math.pi * t)) / 2",
    }[train.schedule]
    place = (
        ""
        if train.schedule == "constant"
        else (f"    t = (step - {train.warmup_steps}) / {length}  # {train.steps:,} steps in all\n")
    )
    warm = (
        ""
        if not train.warmup_steps
        else (
            f"    if step < {train.warmup_steps}:\n"
            f"        return (step + 1) / {train.warmup_steps + 1}\n"
        )
    )
    return (
        f"def factor(step):\n{warm}{place}    return {after}\n\n"
        "schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)"
    )


def _loss(chosen: Chosen) -> str:
    if chosen.spec.loss is not None:
        return f"criterion = ...  # your own, {chosen.spec.loss}"
    if "nats" not in chosen.unit:
        return "criterion = nn.MSELoss()"
    smoothing = chosen.train.label_smoothing
    argument = f"label_smoothing={smoothing!r}" if smoothing else ""
    note = "  # evaluate without the smoothing" if smoothing else ""
    return f"criterion = nn.CrossEntropyLoss({argument}){note}"


def _step(chosen: Chosen) -> str:
    train = chosen.train
    average, update = "", ""
    if train.ema:
        average = (
            "averaged = torch.optim.swa_utils.AveragedModel(  # this one is evaluated and kept\n"
            "    model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn("
            f"{train.ema!r})\n)\n\n"
        )
        update = "    averaged.update_parameters(model)\n"
    l2 = ""
    if train.l2:
        l2 = f"    loss = loss + {train.l2!r} / 2 * sum((p**2).sum() for p in matrices)\n"
    clip = ""
    if train.clip_value:
        clip += f"    nn.utils.clip_grad_value_(model.parameters(), {train.clip_value!r})\n"
    if train.clip_norm:
        clip += f"    nn.utils.clip_grad_norm_(model.parameters(), {train.clip_norm!r})\n"
    note = ""
    if train.precision == "bfloat16":
        note = "# Model and loss run under torch.autocast(device, dtype=torch.bfloat16).\n"
    steps = "    optimizer.zero_grad()\n    loss.backward()\n"
    steps += f"{clip}    optimizer.step()\n    schedule.step()\n{update}"
    return f"{average}{note}def train_step(loss):\n{l2}{steps}".rstrip()
