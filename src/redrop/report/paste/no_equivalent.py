"""What an arm does for which PyTorch has no line of its own, and the nearest thing to it."""

from collections.abc import Mapping

from redrop.report.paste.chosen import Chosen

_SITES: Mapping[str, str] = {
    "token_dropout": "drops whole token embeddings before the position is added; redrop.nn has it",
    "drop_head": "drops whole attention heads; redrop.nn.DropHead",
    "drop_path": "drops residual branches of single samples, the rate growing linearly to this in "
    'the last block; nearest: torchvision.ops.StochasticDepth(p, "row") or timm\'s DropPath',
    "layer_drop": "skips whole blocks; redrop.nn.LayerDrop",
}

_TRAIN: Mapping[str, str] = {
    "entropy_penalty": "subtract this times the entropy of the prediction from the loss",
    "r_drop": "two passes under two masks, and what they disagree is added to the loss",
    "concrete": "every site learns its own p; redrop.nn.ConcreteDropout",
    "patience": "stop after so many evaluations without a better validation loss",
}

_AUGMENT: Mapping[str, str] = {
    "mixup": "nearest: torchvision.transforms.v2.MixUp(alpha={value}); images and tables",
    "cutmix": "nearest: torchvision.transforms.v2.CutMix(alpha={value})",
    "erasing": "nearest: torchvision.transforms.v2.RandomErasing(p={value})",
    "flip": "nearest: torchvision.transforms.v2.RandomHorizontalFlip(p={value})",
    "crop": "nearest: torchvision.transforms.v2.RandomCrop(size, padding={value})",
}


def no_equivalent(chosen: Chosen) -> list[str]:
    """Return one line for each thing the arm does that has no line of PyTorch."""
    train, recipe = chosen.train, chosen.recipe
    said = [
        f"{kind} {chosen.rates[kind]:g}: {what}"
        for kind, what in _SITES.items()
        if kind in chosen.rates
    ]
    said += [
        f"dropout {p:g} on the sites named {pattern}; redrop.integrations.set_rates sets them"
        for pattern, p in chosen.patterns.items()
    ]
    said += [
        f"{name} {getattr(train, name):g}: {what}"
        for name, what in _TRAIN.items()
        if getattr(train, name)
    ]
    if train.dropout_schedule != "constant":
        said.append(f"dropout_schedule {train.dropout_schedule}: set each p anew as training goes")
    for name, value in recipe.augment.items():
        if value:
            what = _AUGMENT.get(name, "on the training text; redrop.regularize.text has it")
            said.append(f"{name} {value}: {what.format(value=value)}")
    said += [
        f"{name} = {value}: part of the network itself"
        for name, value in recipe.model.items()
        if name != "rates"
    ]
    return said
