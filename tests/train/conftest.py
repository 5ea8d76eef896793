import signal

import pytest


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C interrupt, as in a terminal; a shell's background job would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
