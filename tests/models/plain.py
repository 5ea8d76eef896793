"""The same transformer written a second time, in plain torch, from the papers' formulas.

It shares no line with `redrop.models`: it takes the weights by name and knows no modules. Its
attention is a loop over heads, its norms are spelled out.
"""

import math

import torch


def layer_norm(x, gain, bias):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * gain + bias


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(x, w, name, heads):
    length, width = x.shape[1:]
    q, k, v = (x @ w[f"{name}.qkv.weight"].T + w[f"{name}.qkv.bias"]).split(width, dim=2)
    mixed = []
    for h in range(heads):
        part = slice(h * width // heads, (h + 1) * width // heads)
        scores = q[:, :, part] @ k[:, :, part].transpose(1, 2) / math.sqrt(width // heads)
        past = torch.tril(torch.ones(length, length, dtype=torch.bool))
        scores = torch.where(past, scores, torch.tensor(float("-inf"), dtype=x.dtype))
        mixed.append(torch.softmax(scores, dim=-1) @ v[:, :, part])
    return torch.cat(mixed, dim=2) @ w[f"{name}.output.weight"].T + w[f"{name}.output.bias"]


def feed_forward(x, w, name):
    hidden = gelu(x @ w[f"{name}.expand.weight"].T + w[f"{name}.expand.bias"])
    return hidden @ w[f"{name}.contract.weight"].T + w[f"{name}.contract.bias"]


def logits(weights, tokens, *, layers, heads, norm):
    w = weights
    x = w["token_embedding.weight"][tokens] + w["position_embedding.weight"][: tokens.shape[1]]
    for n in range(layers):
        block = f"blocks.{n}"

        def norm_1(y, block=block):
            name = f"{block}.attention_norm"
            return layer_norm(y, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm_2(y, block=block):
            name = f"{block}.feed_forward_norm"
            return layer_norm(y, w[f"{name}.weight"], w[f"{name}.bias"])

        if norm == "pre":
            x = x + attention(norm_1(x), w, f"{block}.attention", heads)
            x = x + feed_forward(norm_2(x), w, f"{block}.feed_forward")
        else:
            x = norm_1(x + attention(x, w, f"{block}.attention", heads))
            x = norm_2(x + feed_forward(x, w, f"{block}.feed_forward"))
    if norm == "pre":
        x = layer_norm(x, w["final_norm.weight"], w["final_norm.bias"])
    return x @ w.get("output.weight", w["token_embedding.weight"]).T
