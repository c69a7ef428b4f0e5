"""Reading option files: values, places, variables, inheritance, forced values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basicsr.engine.errors import UserError
from basicsr.engine.options_merge import apply_force, load_options
from basicsr.engine.options_yaml import parse_value, read_yaml


def values_of(text: str) -> dict[str, Any]:
    loaded = read_yaml(text, "x.yml")
    assert loaded.problems == []
    return loaded.root.plain()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),  # a string to plain YAML 1.1, on which upstream's optimizer crashed
        ("!!float 1e-3", 0.001),
        ("!!float 5e3", 5000.0),
        ("2.", 2.0),
        (".5", 0.5),
        ("-1", -1),
        ("12_000", 12000),
        ("010", 10),
        ("0x10", 16),
        ("'1e-3'", "1e-3"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("True", True),
        ("off", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("plain words", "plain words"),
        ("'{}'", "{}"),
        ("[1, [2, ~]]", [1, [2, None]]),
        ("C:\\photos", "C:\\photos"),
    ],
)
def test_values_without_yaml_traps(text: str, value: Any) -> None:
    assert values_of(f"key: {text}\n") == {"key": value}
    assert type(values_of(f"key: {text}\n")["key"]) is type(value)


def test_every_value_knows_its_line() -> None:
    root = read_yaml("a:\n  b: 1\n\n  c:\n    - x\n    - y\n", "dir/x.yml").root
    assert str(root.value["a"].value["b"].place) == "dir/x.yml:2"
    assert str(root.value["a"].value["c"].place) == "dir/x.yml:4"
    assert str(root.value["a"].value["c"].value[1].place) == "dir/x.yml:6"


def test_a_key_written_twice_is_reported_with_both_lines() -> None:
    problems = read_yaml("train:\n  lr: 1\n  total: 2\n  lr: 3\n", "x.yml").problems
    assert [str(item) for item in problems] == [
        "x.yml:4: train.lr: written twice in the same mapping (first in line 2); keep one"
    ]


def test_anchors_and_merge_keys() -> None:
    text = "a: &one {x: 1, y: 2}\nb:\n  <<: *one\n  y: 3\n"
    assert values_of(text)["b"] == {"x": 1, "y": 3}


def test_an_alias_to_its_own_mapping_is_refused() -> None:
    with pytest.raises(UserError, match="refers to the mapping"):
        read_yaml("a: &a\n  b: *a\n", "x.yml")


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system ['true']", "a: !!python/name:os.system", "a: !mine x"]
)
def test_nothing_in_a_file_is_executed(text: str) -> None:
    with pytest.raises(UserError, match=r"x\.yml:1: a: the tag .* is not allowed"):
        read_yaml(text, "x.yml")


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\n\tb: 2\n", 2), ("a: [1, 2\nb: 3\n", 2), ("- 1\n- 2\n", 1), ("a: 'x\n", 2)]
)
def test_broken_yaml_is_a_user_error_with_a_line(text: str, line: int) -> None:
    with pytest.raises(UserError, match=rf"^x\.yml:{line}: "):
        read_yaml(text, "x.yml")


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/data")
    monkeypatch.setenv("ITERATIONS", "300")
    monkeypatch.delenv("MISSING", raising=False)
    text = "a: ${DATA_DIR}/gt\nb: ${ITERATIONS}\nc: ${MISSING:-1e-3}\nd: '$${DATA_DIR}'\ne: '${ITERATIONS}'\n"
    assert values_of(text) == {"a": "/data/gt", "b": 300, "c": 0.001, "d": "${DATA_DIR}", "e": "300"}


def test_an_undefined_variable_is_reported_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    problems = read_yaml("a: 1\nb:\n  c: x/${MISSING}\n", "x.yml").problems
    assert len(problems) == 1
    assert str(problems[0]).startswith("x.yml:3: b.c: the environment variable MISSING is not defined")


class TestBase:
    def test_a_chain_is_merged_and_places_stay(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yml", "name: a\ntrain:\n  total_iter: 10\n  list: [1, 2]\n")
        write(tmp_path / "sub/b.yml", "base: ../a.yml\ntrain:\n  total_iter: 20\n")
        write(tmp_path / "sub/c.yml", "base: b.yml\n\ntrain:\n  list: [3]\n")
        root = load_options(tmp_path / "sub/c.yml").root
        assert root.plain() == {"name": "a", "train": {"total_iter": 20, "list": [3]}}
        train = root.value["train"].value
        assert train["total_iter"].place.file.endswith("b.yml") and train["total_iter"].place.line == 3
        assert train["list"].place.file.endswith("c.yml") and train["list"].place.line == 4
        assert root.value["name"].place.file.endswith("a.yml")

    def test_a_changed_type_replaces_the_whole_section(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yml", "scheduler: {type: MultiStepLR, milestones: [5]}\nloss: {type: L1Loss, w: 1}\n")
        write(tmp_path / "b.yml", "base: a.yml\nscheduler: {type: Cosine, T_max: 3}\nloss: {type: L1Loss, r: sum}\n")
        assert load_options(tmp_path / "b.yml").root.plain() == {
            "scheduler": {"type": "Cosine", "T_max": 3},
            "loss": {"type": "L1Loss", "w": 1, "r": "sum"},
        }

    def test_nothing_in_the_child_removes(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yml", "loss: {type: L1Loss}\nlr: 1\n")
        write(tmp_path / "b.yml", "base: a.yml\nloss: ~\nlr: ~\n")
        assert load_options(tmp_path / "b.yml").root.plain() == {"loss": None, "lr": None}

    def test_a_circle_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yml", "base: b.yml\n")
        write(tmp_path / "b.yml", "base: a.yml\n")
        with pytest.raises(UserError, match=r"circle: a\.yml -> b\.yml -> a\.yml"):
            load_options(tmp_path / "a.yml")

    def test_a_missing_base_is_named_with_line(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yml", "name: x\nbase: nowhere.yml\n")
        with pytest.raises(UserError, match=r"a\.yml:2: base: no such option file: .*nowhere\.yml"):
            load_options(tmp_path / "a.yml")

    def test_a_missing_file_lists_its_neighbours(self, tmp_path: Path) -> None:
        write(tmp_path / "there.yml", "name: x\n")
        with pytest.raises(UserError, match=r"no such option file.*there\.yml"):
            load_options(tmp_path / "ther.yml")


class TestForce:
    def force(self, text: str, *arguments: str) -> Any:
        root = read_yaml(text, "x.yml").root
        for argument in arguments:
            apply_force(root, argument)
        return root.plain()

    def test_values_and_places(self) -> None:
        root = read_yaml("train:\n  optim_g: {lr: 1}\n", "x.yml").root
        apply_force(root, "train:optim_g:lr=1e-4")
        entry = root.value["train"].value["optim_g"].value["lr"]
        assert entry.value == 1e-4 and str(entry.place) == "--force_yml train:optim_g:lr=1e-4"

    def test_a_variable_in_braces_needs_quotes_and_the_message_says_so(self) -> None:
        with pytest.raises(UserError, match=r"x\.yml:2: .*needs quotes"):
            read_yaml("a: 1\nb: {lr: ${LR}}\n", "x.yml")

    def test_a_forced_value_that_is_not_yaml_is_named(self) -> None:
        with pytest.raises(UserError, match=r"^--force_yml 'a:b=\[1, 2': not valid YAML"):
            self.force("a: {b: 0}", "c=1", "a:b=[1, 2")

    def test_forced_exponents_and_negative_numbers_are_numbers_not_text(self) -> None:
        assert self.force("a: {b: 0}", "a:b=1e-4") == {"a": {"b": 1e-4}}
        assert self.force("a: {b: 0}", "a:b=-1") == {"a": {"b": -1}}

    def test_a_value_may_hold_an_equals_sign_and_colons(self) -> None:
        assert self.force("a: 0", "a=x=y:z") == {"a": "x=y:z"}

    def test_new_parents_are_made(self) -> None:
        assert self.force("a: 0", "b:c:d=1") == {"a": 0, "b": {"c": {"d": 1}}}
        assert self.force("b: ~", "b:c=1") == {"b": {"c": 1}}

    def test_list_elements_by_position(self) -> None:
        assert self.force("a: [1, 2]", "a:1=5") == {"a": [1, 5]}
        with pytest.raises(UserError, match="no position in a list of 2"):
            self.force("a: [1, 2]", "a:2=5")

    @pytest.mark.parametrize("argument", ["a", "a:=1", "=1", ":a=1"])
    def test_wrong_forms_are_explained(self, argument: str) -> None:
        with pytest.raises(UserError, match="must have the form"):
            self.force("a: 1", argument)

    def test_a_path_through_a_value_is_refused(self) -> None:
        with pytest.raises(UserError, match="single value"):
            self.force("a: 1", "a:b=2")

    def test_lists_are_parsed_and_never_executed(self) -> None:
        assert parse_value("[1, 2e-1, abc]") == [1, 0.2, "abc"]
        assert parse_value("[__import__('os').getcwd()]") != [str(Path.cwd())]
        with pytest.raises(UserError, match="--force_yml"):
            parse_value("[1, 2")


@given(st.integers())
def test_any_integer_survives_forcing(number: int) -> None:
    value = parse_value(str(number))
    assert value == number and isinstance(value, int)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_survives_forcing(number: float) -> None:
    value = parse_value(repr(number))
    assert isinstance(value, float) and math.copysign(1, value) == math.copysign(1, number) and value == number


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()))
def test_any_list_of_scalars_survives_forcing(items: list[Any]) -> None:
    words = {True: "true", False: "false", None: "~"}
    text = ", ".join(words[item] if isinstance(item, bool) or item is None else repr(item) for item in items)
    assert parse_value(f"[{text}]") == items


PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="[{'\"!~"), min_size=1)


@given(st.lists(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), min_size=1, max_size=4), PLAIN)
def test_forcing_never_fails_on_text_and_sets_exactly_one_key(keys: list[str], text: str) -> None:
    root = read_yaml("other: 1\n", "x.yml").root
    if keys[0] == "other":
        return
    apply_force(root, f"{':'.join(keys)}={text}")
    assert root.value.pop("other").plain() == 1
    value = root.plain()
    for key in keys:
        assert list(value) == [key]
        value = value[key]
    assert value == parse_value(text)


@given(st.text(max_size=30))
def test_parsing_a_value_gives_a_plain_value_or_a_user_error(text: str) -> None:
    try:
        value = parse_value(text)
    except UserError:
        return
    assert value is None or isinstance(value, (bool, int, float, str, list, dict))
