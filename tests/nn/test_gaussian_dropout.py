import pytest
import torch

from redrop import nn
from redrop.errors import UsageError
from redrop.mask import mask_key
from redrop.ops import gaussian_dropout, gaussian_noise
from tests.nn.expected import reference

KEY = 0x8B1EF9904FBD598E


def test_attached_it_gets_the_noise_of_its_name_step_and_pass_and_replays_it():
    model = torch.nn.Sequential(nn.GaussianDropout(0.3))
    state = nn.attach(model, seed=3)
    x = torch.randn(4, 5, dtype=torch.float64)
    for step in (0, 7):
        state.set_step(step)
        for pass_ in (0, 1):
            y = model(x)
            assert torch.equal(y, gaussian_dropout(x, mask_key(3, step, "0", pass_), 0.3))
            factors = nn.replay(model, "0", step=step, shape=x.shape, pass_=pass_)
            assert torch.equal(y, x * factors)


def test_what_dropout_would_drop_has_the_smallest_factors():
    factors = gaussian_noise(KEY, 0.3, (10_000,))
    kept = reference(KEY, 0.3, (10_000,))
    assert factors[kept].min() > factors[~kept].max()


@pytest.mark.parametrize("p", [1, 1.0])
def test_p_1_has_no_variance_and_is_refused(p):
    with pytest.raises(UsageError, match=r"must lie in \[0, 1\).*infinite"):
        nn.GaussianDropout(p)
    drop = nn.GaussianDropout(0.5)
    drop.p = p
    with pytest.raises(UsageError, match="infinite"):
        drop(torch.ones(3))
