"""The strict check: every key at every depth, before anything is built or read, all errors at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr.engine.errors import UserError
from basicsr.engine.option_types import (
    TypeMismatch,
    accepts_none,
    convert,
    dataclass_in,
    describe,
    did_you_mean,
    expected,
    nearest,
)
from basicsr.engine.options_schema import SECTIONS, TopOptions
from basicsr.engine.options_yaml import Entry, Place, Problem
from basicsr.engine.plugin_scan import providers
from basicsr.engine.schema import Param, Schema, options_class, schema_of_dataclass, schema_of_options
from basicsr.utils.registry import Registry

MAX_LISTED = 24
UNKNOWN_HINT = "(a model that reads keys of its own: declare them in a dataclass, or set unknown_keys: warn)"


@dataclass
class Report:
    """What the check found.

    Attributes:
        values: The options with every value converted to its type, as plain nested dicts, without defaults.
        errors: What must be put right.
        warnings: What is probably not meant so.
        hints: Paragraphs shown once below the errors.
    """

    values: dict[str, Any] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def raise_errors(self) -> None:
        """Raise one error that lists everything.

        Raises:
            UserError: There are errors.
        """
        if self.errors:
            raise UserError(self.text())

    def text(self) -> str:
        """All errors, in the order of the file, and the hints."""
        count = len(self.errors)
        title = f"{count} mistake{'s' * (count > 1)} in the options (nothing was started):"
        unique = dict.fromkeys(self.errors)
        ordered = sorted(unique, key=lambda item: (item.place.line == 0, item.place.file, item.place.line))
        return "\n".join([title, *(f"  {problem}" for problem in ordered), *self.hints])


class Checker:
    """Checks entries against schemas and collects what is wrong.

    Args:
        root: The project's root.
        warn_unknown: Whether unknown keys are warnings.
    """

    def __init__(self, root: Path, warn_unknown: bool = False) -> None:
        self.root = root
        self.warn_unknown = warn_unknown
        self.report = Report()
        self._misspelt: set[str] = set()

    def error(self, place: Place, key: str, message: str) -> None:
        self.report.errors.append(Problem(place, key, message))

    def warn(self, place: Place, key: str, message: str) -> None:
        self.report.warnings.append(Problem(place, key, message))

    def unknown(self, entry: Entry, key: str, candidates: Iterable[str], owner: str) -> None:
        """Report a key that nothing reads."""
        name = key.rpartition(".")[2]
        advice = did_you_mean(name, candidates) or self._elsewhere(name, key)
        if not advice:
            known = sorted(candidates)
            advice = f"; there are: {', '.join(known)}" if 0 < len(known) <= MAX_LISTED else ""
        message = f"unknown key of {owner}{advice}"
        if self.warn_unknown:
            self.warn(entry.place, key, message)
        else:
            self.error(entry.place, key, message)
            self.misspelt(key, candidates)

    def misspelt(self, key: str, candidates: Iterable[str]) -> None:
        """Note which key a reported one was probably meant to be: that one is then not missing as well."""
        section, dot, name = key.rpartition(".")
        self._misspelt.update(f"{section}{dot}{meant}" for meant in nearest(name, candidates))

    def drop_repeated(self) -> None:
        """Take out the errors that only say again that a misspelt key is missing."""

        def repeated(problem: Problem) -> bool:
            key = problem.key
            meant = any(key == other or key.startswith(f"{other}.") for other in self._misspelt)
            return meant and problem.message.startswith("missing")

        self.report.errors = [problem for problem in self.report.errors if not repeated(problem)]

    @staticmethod
    def _elsewhere(name: str, key: str) -> str:
        """Where a key belongs that is written in the wrong section."""
        homes = {"the top level": TopOptions, **SECTIONS}
        own_section = key.split(".")[0] if "." in key else "the top level"
        for section, cls in homes.items():
            if section != own_section and name in schema_of_dataclass(cls).params and name not in ("name", "base"):
                where = section if section == "the top level" else f"'{section}'"
                return f"; it belongs under {where}"
        return ""

    def mapping(self, entry: Entry, key: str, what: str) -> dict[Any, Entry] | None:
        """The members of an entry that must be a mapping; reports it and gives None if it is not one."""
        if isinstance(entry.value, dict):
            return entry.value
        self.error(entry.place, key, f"expected {what}, got {expected(dict, entry.plain()).partition(', got ')[2]}")
        return None

    def params(
        self,
        entry: Entry,
        schema: Schema,
        key: str,
        skip: Callable[[str], bool] = lambda name: False,
        extra_names: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Check the members of a mapping against a schema.

        Args:
            entry: The mapping.
            schema: What it may hold.
            key: Its dotted key, '' for the top level.
            skip: Names that somebody else checks.
            extra_names: More names to suggest for an unknown one.

        Returns:
            The converted values of the members that are right, and of unknown ones where those only warn.
        """
        values: dict[str, Any] = {}
        for name, member in entry.value.items():
            if isinstance(name, str) and skip(name):
                continue
            dotted = f"{key}.{name}" if key else str(name)
            param = schema.params.get(name)
            if param is not None:
                self._param(member, param, dotted, values)
            elif schema.accepts_any:
                values[str(name)] = member.plain()
            else:
                self.unknown(member, dotted, [*schema.params, *extra_names], schema.name)
                values[str(name)] = member.plain()
        for param in schema.params.values():
            if param.required and not self._is_given(entry, param.name, skip(param.name)):
                doc = f": {param.doc.rstrip('.')}" if param.doc else ""
                message = f"missing; {schema.name} needs it ({describe(param.annotation)}{doc})"
                self.error(entry.place, f"{key}.{param.name}" if key else param.name, message)
        return values

    @staticmethod
    def _is_given(entry: Entry, name: str, elsewhere: bool) -> bool:
        """Whether a key is written; what is checked elsewhere must also have a value, the rest is reported there."""
        member = entry.value.get(name)
        return member is not None and not (elsewhere and member.value is None)

    def _param(self, entry: Entry, param: Param, key: str, values: dict[str, Any]) -> None:
        if entry.value is None and not accepts_none(param.annotation):
            if param.required:
                self.error(entry.place, key, expected(param.annotation, None))
            return  # '~' where nothing is no value: the default holds
        nested = dataclass_in(param.annotation)
        if nested is not None and isinstance(entry.value, dict):
            values[param.name] = self.params(entry, schema_of_dataclass(nested), key)
            return
        try:
            values[param.name] = convert(entry.plain(), param.annotation, entry.raw)
        except TypeMismatch as error:
            self.error(entry.place, key, str(error))

    def component(
        self,
        entry: Entry,
        key: str,
        registry: Registry,
        schema_of: Callable[[Any], Schema],
        common: Schema | None = None,
    ) -> dict[str, Any] | None:
        """Check a mapping with a ``type`` against the component of that name.

        Args:
            entry: The mapping.
            key: Its dotted key.
            registry: Where the type is registered.
            schema_of: Gives the component's schema.
            common: Keys that all components of that kind accept.

        Returns:
            The converted mapping; None if it is not usable.
        """
        members = self.mapping(entry, key, f"a mapping with the 'type' of the {registry.name}")
        if members is None:
            return None
        if "type" not in members:
            names = ", ".join(sorted(registry.keys()))
            near = next((name for name in members if isinstance(name, str) and did_you_mean(name, ["type"])), None)
            typo = f"; '{near}' was probably meant so" if near else ""
            self.error(entry.place, f"{key}.type", f"missing{typo}; one of: {names}")
            return None
        component = self.lookup(members["type"], f"{key}.type", registry)
        if component is None:
            return None
        name = str(members["type"].value)
        schema = schema_of(component)
        schema = Schema(name, schema.params, schema.families, schema.accepts_any)
        if common is not None:
            schema = schema.extended(common)
        values = self.params(entry, schema, key, skip=lambda item: item == "type")
        if schema_of is schema_of_options:
            self._build_options(component, entry, key, values)
        return {"type": name, **values}

    def lookup(self, entry: Entry, key: str, registry: Registry) -> Any:
        """The registered component that an entry names; reports an unknown name and gives None."""
        if not isinstance(entry.value, str):
            names = ", ".join(sorted(registry.keys()))
            self.error(entry.place, key, f"{expected(str, entry.plain())}; registered: {names}")
            return None
        found = registry.find(entry.value)
        if found is None:
            brings = providers(entry.value, registry.name, self.root)
            if brings:
                advice = f" The plug-in {' or '.join(brings)} would bring it: add it to 'plugins'."
            else:
                advice = registry.hint(entry.value)
            self.error(entry.place, key, f"no {registry.name} of the name '{entry.value}' is registered.{advice}")
        return found

    def _build_options(self, component: Any, entry: Entry, key: str, values: Mapping[str, Any]) -> None:
        """Let a component's own options class check what its fields mean together."""
        cls = options_class(component)
        if cls is None or self._has_errors_below(key):
            return
        own = {name: values[name] for name in schema_of_dataclass(cls).params if name in values}
        try:
            cls(**own)
        except UserError as error:
            self.error(entry.place, key, str(error))

    def _has_errors_below(self, key: str) -> bool:
        return any(problem.key.startswith(f"{key}.") for problem in self.report.errors)
