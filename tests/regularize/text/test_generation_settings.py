import math

import pytest

from redrop.errors import UsageError
from redrop.regularize.text.generation_settings import GenerationSettings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beams": 0}, "`beams` must be at least 1; got 0. Leave it out for 1."),
        ({"longest": 0}, "`longest` must be at least 1; got 0. Leave it out for 256."),
        ({"new_tokens": -1}, "`new_tokens` must be at least 1; got -1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0. Leave it out for 16."),
        ({"temperature": -0.1}, r"`temperature` must lie in \[0, 10\]; got -0.1"),
        ({"temperature": 11}, r"`temperature` must lie in \[0, 10\]; got 11"),
        ({"temperature": math.nan}, r"`temperature` must lie in \[0, 10\]; got nan"),
        ({"beams": 4}, "got beams=4 and temperature=1.0. Pass temperature=0 with beams"),
    ],
)
def test_what_cannot_be_honoured_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        GenerationSettings(**fields)


def test_the_identity_is_all_but_the_batch_size():
    settings = GenerationSettings(temperature=0, beams=4)
    assert settings.identity() == {
        "temperature": 0,
        "beams": 4,
        "longest": 256,
        "new_tokens": 256,
    }
