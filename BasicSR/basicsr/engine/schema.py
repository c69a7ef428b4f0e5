"""The schema of a component is its constructor's signature.

A network, loss, metric, optimizer or scheduler takes keyword parameters: their annotations and defaults say what an
option file may write. A dataset or model takes one ``opt``: the dataclass in that parameter's annotation says it, for
example ``def __init__(self, opt: PairedImageOptions | Mapping[str, Any])``; without one every key is accepted.
Descriptions come from the ``Args:`` or ``Attributes:`` section of the docstring.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr.engine.option_types import dataclass_in
from basicsr.engine.options_schema import Family

REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Param:
    """One key that a section or component accepts.

    Attributes:
        name: The key.
        annotation: Type of its value.
        default: Its default, ``REQUIRED`` without one.
        doc: Its meaning.
    """

    name: str
    annotation: Any
    default: Any
    doc: str = ""

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True)
class Schema:
    """What a section or component accepts.

    Attributes:
        name: How messages call it.
        params: The keys.
        families: Keys of which only a part of the name is fixed.
        accepts_any: Whether other keys pass unchecked.
        doc: First paragraph of its docstring.
    """

    name: str
    params: Mapping[str, Param]
    families: tuple[Family, ...] = ()
    accepts_any: bool = False
    doc: str = ""

    def extended(self, other: Schema) -> Schema:
        """This schema with the keys of another one added."""
        return dataclasses.replace(
            self,
            params={**other.params, **self.params},
            families=self.families + other.families,
            accepts_any=self.accepts_any or other.accepts_any,
        )


def schema_of_dataclass(cls: type) -> Schema:
    """The schema that a dataclass's fields are."""
    docs: dict[str, str] = {}
    for parent in reversed(cls.__mro__):  # a field is described where it is declared
        docs.update(documented_params(parent))
    hints = type_hints(cls)
    params = {}
    for item in dataclasses.fields(cls):
        if not item.init:
            continue
        default: Any = REQUIRED
        if item.default is not dataclasses.MISSING:
            default = item.default
        elif item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        params[item.name] = Param(item.name, hints.get(item.name, Any), default, docs.get(item.name, ""))
    return Schema(cls.__name__, params, getattr(cls, "families", ()), doc=summary(cls))


def schema_of_callable(target: Callable[..., Any], given: Iterable[str] = ()) -> Schema:
    """The schema that a class's constructor or a function has.

    Args:
        target: The component.
        given: Parameters that the engine supplies itself (``optimizer``, ``img``), left out of the schema.

    Returns:
        Its schema. ``**kwargs`` of a constructor stands for the parameters of the base class it is passed to; where
        there is none, any key is accepted. ``**kwargs`` of a function adds nothing.
    """
    if not inspect.isclass(target):
        params, _ = _own_params(target, target)
        return Schema(target.__name__, _without(params, given), doc=summary(target))
    params, accepts_any = _constructor_params(target)
    return Schema(target.__name__, _without(params, given), accepts_any=accepts_any, doc=summary(target))


def _constructor_params(cls: type) -> tuple[dict[str, Param], bool]:
    params: dict[str, Param] = {}
    passes_on = False
    for klass in cls.__mro__:
        init = vars(klass).get("__init__")
        if init is None:
            continue
        if klass is object or (klass.__module__ == "torch.nn.modules.module" and klass.__name__ == "Module"):
            return params, passes_on
        own, passes_on = _own_params(init, klass)
        params = {**own, **params}
        if not passes_on:
            return params, False
    return params, False


def _own_params(function: Callable[..., Any], owner: Any) -> tuple[dict[str, Param], bool]:
    """Parameters of one function, and whether it takes ``**kwargs``."""
    hints = type_hints(function)
    docs = {**documented_params(function), **documented_params(owner)}
    params = {}
    passes_on = False
    for index, (name, item) in enumerate(inspect.signature(function).parameters.items()):
        if item.kind is item.VAR_KEYWORD:
            passes_on = True
        if item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL, item.POSITIONAL_ONLY):
            continue
        if index == 0 and inspect.isclass(owner):
            continue
        annotation = hints[name] if name in hints else inferred(item.default)
        if item.default is None and annotation is not Any:
            annotation = typing.Optional[annotation]  # noqa: UP045 - the annotation is a value here
        params[name] = Param(name, annotation, item.default, docs.get(name, ""))
    return params, passes_on


def _without(params: Mapping[str, Param], given: Iterable[str]) -> dict[str, Param]:
    left_out = set(given)
    return {name: param for name, param in params.items() if name not in left_out}


def inferred(default: Any) -> Any:
    """The type that an unannotated parameter's default suggests; only clear cases, everything else accepts anything."""
    if isinstance(default, bool):
        return bool | int | None
    if isinstance(default, (int, float)):
        return int | float | None
    return Any


def type_hints(target: Any) -> dict[str, Any]:
    """Resolved annotations; one that cannot be resolved (imported for type checking only) becomes Any."""
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError, AttributeError):
        pass
    names = getattr(sys.modules.get(target.__module__, None), "__dict__", {})
    hints = {}
    for name, annotation in getattr(target, "__annotations__", {}).items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(typing.get_type_hints(holder, names))
        except (NameError, TypeError, AttributeError):
            hints[name] = Any
    return hints


def options_class(component: Any) -> type | None:
    """The dataclass that describes a component's ``opt``, if it has one.

    It is the class attribute ``options_class``, or else the dataclass in the annotation of the parameter.
    """
    declared = getattr(component, "options_class", None)
    if inspect.isclass(declared) and dataclasses.is_dataclass(declared):
        return declared
    init = component.__init__ if inspect.isclass(component) else component
    parameters = [item for item in inspect.signature(init).parameters.values() if item.name != "self"]
    if not parameters:
        return None
    return dataclass_in(type_hints(init).get(parameters[0].name, Any))


def schema_of_options(component: Any) -> Schema:
    """The schema of a component that takes one ``opt``."""
    cls = options_class(component)
    if cls is None:
        return Schema(component.__name__, {}, accepts_any=True, doc=summary(component))
    schema = schema_of_dataclass(cls)
    return dataclasses.replace(schema, name=component.__name__, doc=summary(component))


_SECTION = re.compile(r"(Args|Arguments|Attributes|Keyword Args|Parameters):\s*")
_ANY_SECTION = re.compile(r"[A-Z][A-Za-z ]*:\s*")
_ITEM = re.compile(r"(\*{0,2}\w+(?:, \w+)*)\s*(?:\([^)]*\))?:\s*(.*)")


def documented_params(target: Any) -> Mapping[str, str]:
    """Descriptions of parameters from a Google-style docstring, by name."""
    docs: dict[str, str] = {}
    names: list[str] = []
    indent: int | None = None
    inside = False
    for line in _own_doc(target).splitlines():
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        if depth == 0 and stripped:
            inside, indent, names = bool(_SECTION.fullmatch(stripped)), None, []
            continue
        if not inside or not stripped:
            continue
        indent = depth if indent is None else indent
        match = _ITEM.match(stripped) if depth == indent else None
        if match:
            names = [name.strip().lstrip("*") for name in match[1].split(",")]
            docs.update({name: match[2] for name in names})
        else:
            docs.update({name: f"{docs[name]} {stripped}".strip() for name in names})
    return docs


def _own_doc(target: Any) -> str:
    if inspect.isclass(target) and "__doc__" not in vars(target):
        return ""
    return inspect.getdoc(target) or ""


def summary(target: Any) -> str:
    """First paragraph of a docstring on one line; '' for a dataclass's generated one."""
    doc = _own_doc(target)
    if doc.startswith(f"{getattr(target, '__name__', '')}("):
        return ""
    paragraph: list[str] = []
    for line in doc.splitlines():
        if not line.strip():
            break
        paragraph.append(line.strip())
    return " ".join(paragraph)
