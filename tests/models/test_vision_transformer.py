import pytest
import torch

from redrop.errors import UsageError
from redrop.models import VisionTransformerConfig, build_model
from tests.models import plain
from tests.models.networks import built, inputs


def patches(images, size):
    """Cut images into patches with two loops, in reading order."""
    side = images.shape[2] // size
    cut = [
        images[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size].flatten(1)
        for row in range(side)
        for column in range(side)
    ]
    return torch.stack(cut, dim=1)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("norm_layer", ["layernorm", "rmsnorm", "none"])
@pytest.mark.parametrize("has_residual", [True, False])
@pytest.mark.parametrize("patch_size", [1, 2, 6])
def test_logits_are_those_of_a_second_implementation(norm, norm_layer, has_residual, patch_size):
    changes = {"norm": norm, "norm_layer": norm_layer, "residual": has_residual}
    model = built("vision", patch_size=patch_size, **changes)
    w = {name: p.detach().double() for name, p in model.named_parameters()}
    x = patches(inputs("vision").double(), patch_size)
    x = x @ w["patch_embedding.weight"].T + w["patch_embedding.bias"]
    x = x + w["position_embedding.weight"]
    x = plain.blocks(
        x, w, layers=2, heads=3, where=norm, has_residual=has_residual, is_causal=False
    )
    expected = x.mean(1) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(inputs("vision")).double(), expected, rtol=1e-4, atol=1e-4)


def test_it_learns_which_quarter_of_an_image_is_bright():
    config = VisionTransformerConfig(image_size=4, outputs=4, patch_size=2, width=16, layers=1)
    model = build_model(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)

    def batch():
        quarter = torch.randint(4, (64,), generator=generator)
        images = torch.randn(64, 1, 4, 4, generator=generator) * 0.3
        for image, q in zip(images, quarter.tolist(), strict=True):
            image[0, q // 2 * 2 : q // 2 * 2 + 2, q % 2 * 2 : q % 2 * 2 + 2] += 1
        return images, quarter

    for _ in range(60):
        images, quarter = batch()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), quarter).backward()
        optimizer.step()
    images, quarter = batch()
    # Without its positions the mean over patches could not tell the quarters apart: 16 of 64.
    assert int((model(images).argmax(1) == quarter).sum()) > 55


@pytest.mark.parametrize("shape", [(2, 6, 6), (2, 1, 6, 6), (2, 2, 6, 5), (2, 2, 8, 8)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"\(batch, 2, 6, 6\); got \(2, "):
        built("vision")(torch.zeros(shape))
