"""Colour numbers of three schemes are never taken for each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from plugins.lego import color_ids
from plugins.lego.color_ids import SCHEMES, UNKNOWN_COLOR, canonical_color, color_table, convert_color


def test_the_same_number_is_another_colour_elsewhere() -> None:
    assert color_ids.color_title(canonical_color(326, "rebrickable")) == "Olive Green"
    assert color_ids.color_title(canonical_color(326, "ldraw")) == "Yellowish Green"
    assert canonical_color(158, "rebrickable") == 326 and canonical_color(155, "bricklink") == 330
    assert convert_color(57, "ldraw", "rebrickable") == 182 and convert_color(11, "bricklink", "ldraw") == 0


@pytest.mark.parametrize("number", [158, 182, 1050])
def test_numbers_that_only_rebrickable_has_are_refused_as_ldraw(number: int) -> None:
    canonical_color(number, "rebrickable")
    with pytest.raises(UserError, match=f"rows.csv: there is no colour '{number}' in the scheme ldraw; near it are"):
        canonical_color(number, "ldraw", "rows.csv")


@given(st.sampled_from(color_table()), st.sampled_from(SCHEMES))
def test_there_and_back(color: color_ids.BrickColor, scheme: str) -> None:
    number = color.id_in(scheme)
    if number is not None:
        assert canonical_color(number, scheme) == color.ldraw


def test_no_number_has_two_colours() -> None:
    for scheme in SCHEMES:
        numbers = [color.id_in(scheme) for color in color_table() if color.id_in(scheme) is not None]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("text", ["DarkBluishGray", "dark bluish grey", "Dark_Bluish_Gray"])
def test_spellings_of_a_name(text: str) -> None:
    assert canonical_color(text, "name") == 72


def test_unknown_is_unknown_in_every_scheme() -> None:
    assert {canonical_color(9999, scheme) for scheme in SCHEMES} == {UNKNOWN_COLOR}
    assert canonical_color(-1, "rebrickable") == canonical_color("Unknown", "name") == UNKNOWN_COLOR
    assert convert_color(9999, "ldraw", "bricklink") == 0


def test_mistakes_are_explained() -> None:
    with pytest.raises(UserError, match="scheme name; near it are Reddish Brown"):
        canonical_color("Redish Brown", "name")
    with pytest.raises(UserError, match="'red' is no ldraw number"):
        canonical_color("red", "ldraw")
    with pytest.raises(UserError, match="rebrickable 1050 is Coral"):
        canonical_color(1050, "ldraw")
    with pytest.raises(UserError, match="colour scheme 'lego': there are ldraw"):
        canonical_color(1, "lego")
