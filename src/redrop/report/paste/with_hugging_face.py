"""The arm as fields of Hugging Face configs, and what they have no field for."""

from collections.abc import Mapping
from dataclasses import dataclass

from redrop.report.paste.chosen import Chosen, code
from redrop.report.paste.no_equivalent import no_equivalent
from redrop.report.paste.with_pytorch import BETAS, MOMENTUM


@dataclass(frozen=True, slots=True)
class Family:
    """A config class, and which kinds of site each of its fields decides."""

    name: str
    config: str
    fields: Mapping[str, tuple[str, ...]]


GPT2 = Family(
    "GPT-2",
    "GPT2Config",
    {
        "embd_pdrop": ("embedding",),
        "attn_pdrop": ("attention_weights",),
        "resid_pdrop": ("attention_residual", "feed_forward_residual"),
    },
)
LLAMA = Family("Llama", "LlamaConfig", {"attention_dropout": ("attention_weights",)})
VIT = Family(
    "ViT",
    "ViTConfig",
    {
        "hidden_dropout_prob": ("embedding", "attention_residual", "feed_forward_residual"),
        "attention_probs_dropout_prob": ("attention_weights",),
    },
)

_SCHEDULES = {"cosine": "cosine_with_min_lr", "linear": "linear", "constant": "constant"}


def hugging_face(chosen: Chosen) -> str | None:
    """Return configs and training arguments; None for a network of which there is no model."""
    families = _families(chosen)
    if not families:
        return None
    configs = ", ".join(family.config for family in families)
    lines = [f"from transformers import {configs}, TrainingArguments", ""]
    notes: list[str] = []
    lines += [_config(family, chosen, notes) for family in families]
    lines += [_arguments(chosen, notes), ""]
    notes += [f"no field for {each}" for each in no_equivalent(chosen)]
    if notes:
        lines.append("# What does not map:")
        lines += [f"# - {note}" for note in dict.fromkeys(notes)]
    return "\n".join(lines).rstrip() + "\n"


def _families(chosen: Chosen) -> tuple[Family, ...]:
    if chosen.spec.network == "transformer":
        return (GPT2, LLAMA)
    if chosen.spec.network == "vision_transformer":
        return (VIT,)
    is_text = (chosen.spec.model or "").startswith("hf:")
    return (GPT2, LLAMA) if is_text else ()


def _config(family: Family, chosen: Chosen, notes: list[str]) -> str:
    variable = family.config.removesuffix("Config").lower()
    if chosen.has_own_rates:
        return f"{variable} = {family.config}()  # the model's own rates, unchanged"
    arguments = []
    for field, kinds in family.fields.items():
        rates = {kind: chosen.rates.get(kind, 0.0) for kind in kinds}
        arguments.append(f"{field}={max(rates.values())!r}")
        if len(set(rates.values())) > 1:
            asked = ", ".join(f"{kind} {p:g}" for kind, p in rates.items())
            notes.append(
                f"{family.name}: {field} is one number for several sites ({asked}); the largest "
                "stands here, which the study did not try"
            )
    mapped = {kind for kinds in family.fields.values() for kind in kinds}
    lost = [
        f"{kind} {p:g}"
        for kind, p in chosen.rates.items()
        if kind not in mapped and kind in _ELEMENTWISE
    ]
    if lost:
        notes.append(f"{family.name} has no field for {', '.join(lost)}")
    return f"{variable} = {family.config}({', '.join(arguments)})"


_ELEMENTWISE = {
    *("embedding", "attention_weights", "attention_residual"),
    *("feed_forward_hidden", "feed_forward_residual", "pre_activation"),
}


def _optimizer(chosen: Chosen) -> dict[str, object]:
    """Return what names the optimizer; the default is AdamW, which without decay is Adam."""
    if chosen.train.optimizer == "sgd":
        return {"optim": "sgd", "optim_args": f"momentum={MOMENTUM!r}"}
    return {"adam_beta2": BETAS[1]}


def _arguments(chosen: Chosen, notes: list[str]) -> str:
    train = chosen.train
    given: dict[str, object] = {
        "output_dir": "out",
        "max_steps": train.steps,
        "per_device_train_batch_size": train.batch_size,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": _SCHEDULES[train.schedule],
        "warmup_steps": train.warmup_steps,
        "weight_decay": train.weight_decay,
        **_optimizer(chosen),
        "max_grad_norm": train.clip_norm,
        "label_smoothing_factor": train.label_smoothing,
    }
    if train.schedule == "cosine":
        given["lr_scheduler_kwargs"] = {"min_lr": train.min_learning_rate}
    elif train.schedule == "linear" and train.min_learning_rate:
        notes.append(f"the study's line ends at {train.min_learning_rate:g}, that of Trainer at 0")
    elif train.schedule == "constant" and train.warmup_steps:
        given["lr_scheduler_type"] = "constant_with_warmup"
    if train.precision == "bfloat16":
        given["bf16"] = True
    notes += [
        f"TrainingArguments has no field for {name} {getattr(train, name):g}"
        for name in ("l2", "clip_value", "ema")
        if getattr(train, name)
    ]
    inner = "".join(f"    {name}={code(value)},\n" for name, value in given.items())
    return f"arguments = TrainingArguments(\n{inner})"
