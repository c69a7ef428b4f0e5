"""A constructor's signature is its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from basicsr.engine import options_schema
from basicsr.engine.option_types import describe
from basicsr.engine.options_schema import SECTIONS, TopOptions
from basicsr.engine.schema import (
    documented_params,
    options_class,
    schema_of_callable,
    schema_of_dataclass,
    schema_of_options,
)

if TYPE_CHECKING:
    from nowhere import Unknown


class Base(nn.Module):
    """A base.

    Args:
        width: Channels,
            in every layer.
        depth (int): Layers.
    """

    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()


class PassesOn(Base):
    def __init__(self, *args: Any, size: tuple[int, int] = (1, 2), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class TakesAnything(nn.Module):
    def __init__(self, width=3, name="x", **kwargs):
        super().__init__()


class NoInit(nn.Module):
    pass


class Unresolvable(nn.Module):
    def __init__(self, width: int, other: Unknown = None) -> None:
        super().__init__()


@dataclass(frozen=True)
class Options:
    """What the dataset takes.

    Attributes:
        root: Folder.
    """

    root: str
    sizes: list[int] = field(default_factory=lambda: [1])


class TakesOptions:
    """A dataset."""

    def __init__(self, opt: Options | Mapping[str, Any]) -> None: ...


class TakesAnyOptions:
    def __init__(self, opt) -> None: ...


class SubClass(TakesAnyOptions):
    options_class = Options


def metric(img: Any, img2: Any, crop_border: int, **kwargs: Any) -> float:
    """A metric."""
    return 0.0


def test_a_constructor() -> None:
    schema = schema_of_callable(Base)
    assert list(schema.params) == ["width", "depth"] and not schema.accepts_any
    assert schema.params["width"].required and not schema.params["depth"].required
    assert schema.params["width"].doc == "Channels, in every layer."
    assert schema.params["depth"].doc == "Layers."


def test_keywords_passed_on_are_the_base_classs_parameters() -> None:
    schema = schema_of_callable(PassesOn)
    assert set(schema.params) == {"width", "depth", "size"} and not schema.accepts_any
    assert schema.params["width"].required


def test_keywords_that_go_nowhere_accept_anything_and_defaults_suggest_types() -> None:
    schema = schema_of_callable(TakesAnything)
    assert schema.accepts_any
    assert describe(schema.params["width"].annotation) == "a number or ~"
    assert schema.params["name"].annotation is Any


def test_a_module_without_constructor_takes_nothing() -> None:
    schema = schema_of_callable(NoInit)
    assert schema.params == {} and not schema.accepts_any


def test_an_annotation_that_cannot_be_resolved_accepts_anything_the_others_are_checked() -> None:
    schema = schema_of_callable(Unresolvable)
    assert schema.params["width"].annotation is int
    assert schema.params["other"].annotation is Any


def test_keywords_of_a_metric_do_not_open_it() -> None:
    schema = schema_of_callable(metric, ("img", "img2"))
    assert list(schema.params) == ["crop_border"] and not schema.accepts_any


def test_a_dataclass_in_the_annotation_of_opt() -> None:
    assert options_class(TakesOptions) is Options
    assert options_class(SubClass) is Options
    assert options_class(TakesAnyOptions) is None
    schema = schema_of_options(TakesOptions)
    assert schema.params["root"].required and schema.params["sizes"].default == [1]
    assert schema_of_options(TakesAnyOptions).accepts_any


def test_every_key_of_the_engine_is_documented() -> None:
    classes = [TopOptions, *SECTIONS.values(), options_schema.LossSchedule, options_schema.DatasetEntry]
    for cls in (*classes, options_schema.MetricOptions, options_schema.WandbOptions):
        undocumented = set(schema_of_dataclass(cls).params) - set(documented_params(cls))
        assert not undocumented, f"{cls.__name__}: {undocumented}"


@dataclass(frozen=True)
class MoreOptions(Options):
    """More.

    Attributes:
        extra: Own.
    """

    extra: int = 0


def test_inherited_fields_keep_their_descriptions() -> None:
    described, more = schema_of_dataclass(Options).params, schema_of_dataclass(MoreOptions).params
    assert more["extra"].doc == "Own."
    assert [more[key].doc for key in described] == [param.doc for param in described.values()]
    assert any(param.doc for param in described.values())
