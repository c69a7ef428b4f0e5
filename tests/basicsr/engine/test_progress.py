import io
import logging
import sys

from basicsr.engine.progress import ProgressLine, TerminalHandler, wants_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_line_is_drawn_on_a_terminal_only():
    assert wants_bar("auto", Terminal())
    assert not wants_bar("auto", io.StringIO())
    assert wants_bar("bar", io.StringIO())
    assert not wants_bar("plain", Terminal())


def test_line_shows_speed_eta_data_time_and_loss(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    line = ProgressLine(total=100, stream=out)
    line.note("l_pix 1.000e-02")
    line.update(50, seconds_per_iter=0.5, data_seconds=0.001)
    text = out.getvalue()
    assert "50/100" in text and "2.00 it/s" in text and "0:00:25" in text
    assert "data 0.001" in text and "l_pix 1.000e-02" in text
    assert "\n" not in text


def test_line_never_exceeds_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    line = ProgressLine(total=100, stream=out)
    line.note("x" * 200)
    line.update(1, 0.5, 0.0)
    assert max(len(part) for part in out.getvalue().split("\r")) < 40


def test_log_lines_do_not_tear_the_progress_line(monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    handler = TerminalHandler()
    handler.progress = ProgressLine(total=10, stream=out)
    handler.progress.update(1, 0.5, 0.0)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.info("shown by the line", extra={"progress": True})
    assert "shown by the line" not in out.getvalue()
    logger.info("Saving")
    assert "\rSaving\n" in out.getvalue()
    assert out.getvalue().rstrip().endswith("s")


def test_remaining_time_is_not_negative():
    out = Terminal()
    ProgressLine(total=10, stream=out).update(12, 1.0, 0.0)
    assert "eta 0:00:00" in out.getvalue()
