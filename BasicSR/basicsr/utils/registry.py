"""Name to component."""

from __future__ import annotations

import difflib
import importlib
import logging
from collections.abc import Callable, ItemsView, Iterator, KeysView
from typing import Any

from basicsr.engine.errors import UserError


class DuplicateNameError(AssertionError):
    """A name was registered twice. (An ``AssertionError`` because that is what upstream's users catch.)"""


class UnknownNameError(UserError, KeyError):
    """A name is in no registry of its kind. (A ``KeyError`` because that is what upstream's users catch.)"""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry:
    """Maps names to components.

    ``home`` is the engine's own package of that kind. It is imported when the registry is first asked for something
    that it does not have, so that registering and ``import basicsr`` stay light.

    Args:
        name: Kind of the components, for messages.
        home: Module whose import registers the engine's own components.
    """

    def __init__(self, name: str, home: str | None = None) -> None:
        self._name = name
        self._home = home
        self._obj_map: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self._name

    def _do_register(self, name: str, obj: Any, suffix: str | None = None) -> None:
        key = f"{name}_{suffix}" if isinstance(suffix, str) else name
        if key in self._obj_map and self._obj_map[key] is not obj:
            old = self._obj_map[key]
            raise DuplicateNameError(
                f"'{key}' is already in the '{self._name}' registry: {_place(old)}; refused: {_place(obj)}. Rename one."
            )
        self._obj_map[key] = obj

    def register(self, obj: Any = None, suffix: str | None = None) -> Any:
        """Add a component under its own name: as ``@REGISTRY.register()`` or ``REGISTRY.register(obj)``.

        Args:
            obj: The class or function; left out when used as a decorator.
            suffix: Added to the name as ``<name>_<suffix>``.

        Returns:
            The decorator, or None for the plain call.

        Raises:
            DuplicateNameError: Something else has that name.
        """
        if obj is not None:
            self._do_register(obj.__name__, obj, suffix)
            return None

        def decorate(target: Any) -> Any:
            self._do_register(target.__name__, target, suffix)
            return target

        return decorate

    def _load_home(self) -> None:
        if self._home is None:
            return
        home, self._home = self._home, None
        loaded = False
        try:
            importlib.import_module(home)
            loaded = True
        finally:
            if not loaded:  # so that the next question meets the same error, not an empty registry
                self._home = home

    def find(self, name: str, suffix: str = "basicsr") -> Any:
        """The component of that name, or of ``<name>_<suffix>``, or None."""
        if name not in self._obj_map:
            self._load_home()
        for key in (name, f"{name}_{suffix}"):
            if key in self._obj_map:
                return self._obj_map[key]
        return None

    def get(self, name: str, suffix: str = "basicsr") -> Any:
        """The component of that name.

        Args:
            name: Registered name.
            suffix: Tried as ``<name>_<suffix>`` when the bare name is not there.

        Raises:
            UnknownNameError: There is none; the message says what there is.
        """
        found = self.find(name, suffix)
        if found is None:
            raise UnknownNameError(f"No object named '{name}' found in '{self._name}' registry!{self.hint(name)}")
        if name not in self._obj_map:
            message = "Name %s is not found, use name: %s_%s!"
            logging.getLogger("basicsr").info(message, name, name, suffix)
        return found

    def hint(self, name: str) -> str:
        """What to write instead of an unknown name: the nearest ones, or all."""
        names = sorted(self.keys())
        by_lower = {item.lower(): item for item in names}
        near = [by_lower[item] for item in difflib.get_close_matches(str(name).lower(), by_lower, n=3)]
        if near:
            return f" Did you mean {' or '.join(repr(item) for item in near)}?"
        return f" Registered: {', '.join(names) or 'nothing'}."

    def __contains__(self, name: object) -> bool:
        if name not in self._obj_map:
            self._load_home()
        return name in self._obj_map

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.items())

    def keys(self) -> KeysView[str]:
        self._load_home()
        return self._obj_map.keys()

    def items(self) -> ItemsView[str, Any]:
        self._load_home()
        return self._obj_map.items()


def _place(obj: Callable[..., Any]) -> str:
    return f"{obj.__module__}.{getattr(obj, '__qualname__', type(obj).__qualname__)}"


DATASET_REGISTRY = Registry("dataset", home="basicsr.data")
ARCH_REGISTRY = Registry("arch", home="basicsr.archs")
MODEL_REGISTRY = Registry("model", home="basicsr.models")
LOSS_REGISTRY = Registry("loss", home="basicsr.losses")
METRIC_REGISTRY = Registry("metric", home="basicsr.metrics")
SCHEDULER_REGISTRY = Registry("scheduler", home="basicsr.models.lr_scheduler")
OPTIMIZER_REGISTRY = Registry("optimizer", home="basicsr.engine.optim")
