import os
import signal

import pytest

from basicsr.engine.interrupt import Interrupted, StopRequest


def _send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_first_signal_waits_for_the_end_of_the_step(number, status):
    with StopRequest() as stop:
        stop.arm()
        assert not stop.agreed()
        _send(number)
        assert stop.agreed()
        assert stop.status == status


def test_second_ctrl_c_stops_at_once():
    with StopRequest() as stop:
        stop.arm()
        _send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            _send(signal.SIGINT)


def test_termination_after_ctrl_c_does_not_break_the_save():
    # torchrun answers Ctrl-C, which all processes get, with SIGTERM
    with StopRequest() as stop:
        stop.arm()
        _send(signal.SIGINT)
        _send(signal.SIGTERM)
        assert stop.status == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_the_first_step_stops_at_once(number):
    expected = KeyboardInterrupt if number == signal.SIGINT else Interrupted
    with pytest.raises(expected), StopRequest():
        _send(number)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_worker_ignores_ctrl_c_and_dies_of_sigterm():
    with StopRequest():
        for number, expected in ((signal.SIGINT, 0), (signal.SIGTERM, signal.SIGTERM)):
            child = os.fork()
            if child == 0:
                _send(number)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert (os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)) == expected
