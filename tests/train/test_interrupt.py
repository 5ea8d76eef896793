import signal
import threading

import pytest

from redrop.train.interrupt import Interrupt

pytestmark = pytest.mark.usefixtures("ctrl_c")


def test_the_first_ctrl_c_is_noted_and_the_second_acts():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt.is_requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.is_requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_request_to_terminate_is_noted_too():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.is_requested
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def test_behind_the_block_ctrl_c_acts_again():
    with Interrupt():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert not interrupt.is_requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_it_does_nothing():
    handlers, errors = [], []

    def look():
        try:
            with Interrupt() as interrupt:
                handlers.append(signal.getsignal(signal.SIGINT))
                assert not interrupt.is_requested
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert errors == []
    assert handlers == [signal.getsignal(signal.SIGINT)]
