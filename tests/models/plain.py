"""The same transformer written a second time, in plain torch, from the papers' formulas.

It shares no line with `redrop.models`: it takes the weights by name and knows no modules. Its
attention is a loop over heads, its norms are spelled out.
"""

import math

import torch


def layer_norm(x, gain, bias):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * gain + bias


def rms_norm(x, gain):
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-5) * gain


def norm(x, w, name):
    """The norm of that name: with a bias a LayerNorm, without one an RMSNorm, without gain none."""
    if f"{name}.weight" not in w:
        return x
    if f"{name}.bias" in w:
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])
    return rms_norm(x, w[f"{name}.weight"])


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(x, w, name, heads, is_causal):
    length, width = x.shape[1:]
    q, k, v = (x @ w[f"{name}.qkv.weight"].T + w[f"{name}.qkv.bias"]).split(width, dim=2)
    mixed = []
    for h in range(heads):
        part = slice(h * width // heads, (h + 1) * width // heads)
        scores = q[:, :, part] @ k[:, :, part].transpose(1, 2) / math.sqrt(width // heads)
        if is_causal:
            past = torch.tril(torch.ones(length, length, dtype=torch.bool))
            scores = torch.where(past, scores, torch.tensor(float("-inf"), dtype=x.dtype))
        mixed.append(torch.softmax(scores, dim=-1) @ v[:, :, part])
    return torch.cat(mixed, dim=2) @ w[f"{name}.output.weight"].T + w[f"{name}.output.bias"]


def feed_forward(x, w, name):
    hidden = gelu(x @ w[f"{name}.expand.weight"].T + w[f"{name}.expand.bias"])
    return hidden @ w[f"{name}.contract.weight"].T + w[f"{name}.contract.bias"]


def blocks(x, w, *, layers, heads, where, has_residual=True, is_causal=True):
    """All blocks, and the norm behind the last one where there is one."""
    for n in range(layers):
        for half in ("attention", "feed_forward"):
            name = f"blocks.{n}.{half}"
            branch = norm(x, w, f"{name}_norm") if where == "pre" else x
            if half == "attention":
                branch = attention(branch, w, name, heads, is_causal)
            else:
                branch = feed_forward(branch, w, name)
            x = x + branch if has_residual else branch
            x = norm(x, w, f"{name}_norm") if where == "post" else x
    return norm(x, w, "final_norm") if where == "pre" else x


def logits(weights, tokens, *, layers, heads, norm, has_residual=True):
    w = weights
    x = w["token_embedding.weight"][tokens] + w["position_embedding.weight"][: tokens.shape[1]]
    x = blocks(x, w, layers=layers, heads=heads, where=norm, has_residual=has_residual)
    return x @ w.get("output.weight", w["token_embedding.weight"]).T
