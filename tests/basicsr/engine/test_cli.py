"""Errors and exit statuses of command lines."""

from __future__ import annotations

import pytest

from basicsr.engine.cli import run_main
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
