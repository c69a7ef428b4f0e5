import contextlib
import os
import signal

import pytest
from torch.utils.data import DataLoader

from basicsr.engine.interrupt import Interrupted, StopRequest, keep_inherited_handler


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


def test_the_first_signal_is_answered_at_once_and_a_lost_terminal_does_no_harm(capfd):
    with StopRequest() as stop:
        stop.arm()
        _send(signal.SIGINT)
        assert "Stopping: this iteration" in capfd.readouterr().err
    with StopRequest() as stop:
        stop.arm()
        kept = os.dup(2)
        os.close(2)
        try:
            _send(signal.SIGTERM)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        assert stop.agreed()


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
def test_forked_worker_outlives_the_signals_that_its_group_gets_until_the_loop_is_left():
    come, go = os.pipe()
    with StopRequest():
        for number in (signal.SIGINT, signal.SIGTERM):
            child = os.fork()
            if child == 0:
                _send(number)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        child = os.fork()
        if child == 0:
            os.read(come, 1)  # until the loop is left
            _send(signal.SIGTERM)
            os._exit(0)
    os.write(go, b"x")
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_torchs_data_worker_survives_the_sigterm_of_its_group_and_ends_with_the_loop():
    with StopRequest() as stop:
        stop.arm()
        loader = DataLoader(range(100), num_workers=1, worker_init_fn=lambda worker: keep_inherited_handler())
        batches = iter(loader)
        next(batches)
        (worker,) = batches._workers
        os.kill(worker.pid, signal.SIGTERM)
        for _ in range(50):
            next(batches)
        assert worker.is_alive()
    # Torch tells of a killed worker by an exception out of its SIGCHLD handler, whenever that comes.
    with contextlib.suppress(RuntimeError):
        worker.terminate()
        worker.join(timeout=10)
    worker.join(timeout=10)
    assert not worker.is_alive()
