"""Errors and exit statuses of command lines."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from basicsr.engine.cli import positive, run_main, writing
from basicsr.engine.errors import NonFiniteError, UserError


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("a.png: empty"), 2, "error: a.png: empty\n"),
        (NonFiniteError("loss is nan"), 3, "error: loss is nan\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_expected_end_is_one_line_without_a_traceback(
    error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        raise error

    assert run_main(main) == status
    assert capsys.readouterr().err == text


def test_a_status_passes_through_and_a_defect_keeps_its_traceback() -> None:
    assert (run_main(lambda: None), run_main(lambda: 1)) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 // 0)


def test_arguments_that_count_begin_at_one() -> None:
    assert positive("3") == 3
    for text in ("0", "-2", "x", "1.5", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 on"):
            positive(text)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing/a\.csv: cannot be written: No such file"), writing("the table"):
        (tmp_path / "missing" / "a.csv").write_text("x")
