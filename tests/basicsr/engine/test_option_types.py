"""Values against annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basicsr.engine.option_types import TypeMismatch, accepts_none, convert, describe, nearest


@pytest.mark.parametrize(
    ("value", "annotation", "result"),
    [
        (3, int, 3),
        (5000.0, int, 5000),  # !!float 5e3
        ("1e-3", float, 0.001),
        ("12", int, 12),
        (1, float, 1.0),
        (1, int | float, 1),
        (True, bool, True),
        (None, int | None, None),
        (None, None, None),
        ("x", str | None, "x"),
        ("a/b", Path, "a/b"),
        ("auto", Union[int, Literal["auto"]], "auto"),  # noqa: UP007 - the old form is what is tested
        (2, int | Literal["auto"], 2),
        (False, float | Literal[False] | None, False),
        (0.01, float | Literal[False] | None, 0.01),
        ([1, 2], list[int], [1, 2]),
        ([1, "2e0"], Sequence[float], [1.0, 2.0]),
        ([0.9, 0.99], tuple[float, float], [0.9, 0.99]),
        ([1, 2, 3], tuple[int, ...], [1, 2, 3]),
        ([[1, 2]], list[tuple[int, int]], [[1, 2]]),
        ({"conv5_4": 1}, Mapping[str, float], {"conv5_4": 1.0}),
        ({1: "x"}, dict[str, str], {"1": "x"}),
        (0.5, float | torch.Tensor, 0.5),
        ("anything", Callable[[int], int], "anything"),
        ({"a": 1}, Any, {"a": 1}),
    ],
)
def test_fits(value: Any, annotation: Any, result: Any) -> None:
    converted = convert(value, annotation)
    assert converted == result and type(converted) is type(result)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("abc", int, "expected a whole number, got the text 'abc'"),
        (1.5, int, "expected a whole number, got the number 1.5"),
        (True, int, "expected a whole number, got true"),
        (True, float, "expected a number, got true"),
        (1, bool, "expected true or false, got the number 1"),
        ("true", bool, "expected true or false, got the text 'true'"),
        (3, str, "expected text, got the number 3"),
        (None, int, "expected a whole number, got nothing"),
        ("skp", Literal["stop", "skip"], "expected stop or skip, got the text 'skp'; did you mean 'skip'?"),
        (1, Literal[False], "expected false, got the number 1"),
        (3, list[int], r"expected a list of whole numbers, got the number 3; write \[3\]"),
        ("ab", list[str], "expected a list of texts, got the text 'ab'"),
        ([1, "x"], list[int], "item 2: expected a whole number"),
        ([1], tuple[int, int], "expected a list of 2"),
        ({"a": "x"}, dict[str, float], "'a': expected a number"),
        ([1], dict, "expected a mapping, got the list"),
        ({"a": 1}, int, "got a mapping with a"),
        ("x", int | None, "expected a whole number or ~"),
        ("x", float | torch.Tensor, "expected a number, got the text 'x'"),
    ],
)
def test_does_not_fit(value: Any, annotation: Any, message: str) -> None:
    with pytest.raises(TypeMismatch, match=message):
        convert(value, annotation)


def test_text_from_the_command_line_stays_text_where_text_is_wanted() -> None:
    assert convert(1, str, raw="001") == "001"
    assert convert(True, str | None, raw="on") == "on"
    assert convert(None, str | None, raw="~") is None


def test_what_accepts_nothing() -> None:
    assert accepts_none(int | None) and accepts_none(Any) and accepts_none(Literal["a", None])
    assert not accepts_none(int) and not accepts_none(list[int])


def test_words() -> None:
    assert describe(list[int] | None) == "a list of whole numbers or ~"
    assert describe(bool | Literal["auto"]) == "true or false or auto"


def test_nearest_disregards_case() -> None:
    assert nearest("nafnet", ["EDSR", "NAFNet"]) == ["NAFNet"]
    assert nearest("zzz", ["EDSR", "NAFNet"]) == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_fits_or_is_named(value: Any) -> None:
    for annotation in (int, float, bool, str, list[int], dict[str, int], int | None, tuple[int, float]):
        try:
            convert(value, annotation)
        except TypeMismatch as error:
            assert "expected" in str(error)
