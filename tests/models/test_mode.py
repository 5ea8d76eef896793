import pytest
import torch

from redrop.models.mode import eval_mode


def layers():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2))
    model[0].eval()
    return model


def test_within_the_block_nothing_trains_and_no_gradient_is_kept():
    model = layers()
    with eval_mode(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(1, 2)).requires_grad
    assert model(torch.ones(1, 2)).requires_grad


@pytest.mark.parametrize("is_failing", [False, True], ids=["success", "error"])
def test_each_module_has_its_own_mode_back(is_failing):
    model = layers()
    with pytest.raises(ZeroDivisionError), eval_mode(model):
        raise ZeroDivisionError
    if not is_failing:
        with eval_mode(model):
            pass
    assert [module.training for module in model.modules()] == [True, False, True]
