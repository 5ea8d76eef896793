import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.regularize.text.gumbel_noise import GumbelNoise

NO_IDS = torch.zeros(1, 0)


def test_the_best_word_is_a_sample_of_the_softmax():
    scores = torch.tensor([2.0, 0.5, -1.0, 0.0])
    temperature, draws = 0.7, 20_000
    noise = GumbelNoise(temperature, seeds=range(draws))
    best = noise(NO_IDS, scores.expand(draws, 4)).argmax(-1)
    for word, share in enumerate((scores / temperature).softmax(0).tolist()):
        # 5.5 standard errors of the binomial: a false alarm in 2.6e7 comparisons
        limit = 5.5 * math.sqrt(share * (1 - share) / draws)
        assert abs(float((best == word).double().mean()) - share) < limit


@given(seeds=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), steps=st.integers(1, 3))
def test_a_row_does_not_depend_on_its_neighbours(seeds, steps):
    together = GumbelNoise(1.0, seeds)
    alone = [GumbelNoise(1.0, [seed]) for seed in seeds]
    for _ in range(steps):
        rows = together(NO_IDS, torch.zeros(len(seeds), 5))
        assert torch.equal(rows, torch.cat([each(NO_IDS, torch.zeros(1, 5)) for each in alone]))


def test_a_forbidden_word_stays_forbidden_and_steps_differ():
    scores = torch.zeros(50, 3)
    scores[:, 1] = -torch.inf
    noise = GumbelNoise(0.1, seeds=range(50))
    first, second = noise(NO_IDS, scores), noise(NO_IDS, scores)
    assert (first[:, 1] == -torch.inf).all()
    assert first[:, [0, 2]].isfinite().all()
    assert not torch.equal(first[:, 0], second[:, 0])
