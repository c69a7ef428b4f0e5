"""Name to component."""

from __future__ import annotations

import importlib
from collections.abc import Callable, ItemsView, Iterator, KeysView
from typing import Any


class DuplicateNameError(AssertionError):
    """A name was registered twice. (An ``AssertionError`` because that is what upstream's users catch.)"""


class Registry:
    """Maps names to components. ``home`` is the engine's own package of that kind, imported when a name is missing."""

    def __init__(self, name: str, home: str | None = None) -> None:
        self._name = name
        self._home = home
        self._obj_map: dict[str, Any] = {}

    def _do_register(self, name: str, obj: Any, suffix: str | None = None) -> None:
        key = f"{name}_{suffix}" if isinstance(suffix, str) else name
        if key in self._obj_map and self._obj_map[key] is not obj:
            old = self._obj_map[key]
            raise DuplicateNameError(
                f"'{key}' is already in the '{self._name}' registry: {_place(old)}; refused: {_place(obj)}. Rename one."
            )
        self._obj_map[key] = obj

    def register(self, obj: Any = None, suffix: str | None = None) -> Any:
        if obj is not None:
            self._do_register(obj.__name__, obj, suffix)
            return None

        def decorate(target: Any) -> Any:
            self._do_register(target.__name__, target, suffix)
            return target

        return decorate

    def _load_home(self) -> None:
        if self._home is not None:
            home, self._home = self._home, None
            importlib.import_module(home)

    def get(self, name: str, suffix: str = "basicsr") -> Any:
        for _ in range(2):
            for key in (name, f"{name}_{suffix}"):
                if key in self._obj_map:
                    return self._obj_map[key]
            self._load_home()
        raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")

    def __contains__(self, name: object) -> bool:
        return name in self._obj_map

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._obj_map.items())

    def keys(self) -> KeysView[str]:
        return self._obj_map.keys()

    def items(self) -> ItemsView[str, Any]:
        return self._obj_map.items()


def _place(obj: Callable[..., Any]) -> str:
    return f"{obj.__module__}.{obj.__qualname__}"


DATASET_REGISTRY = Registry("dataset", home="basicsr.data")
ARCH_REGISTRY = Registry("arch", home="basicsr.archs")
MODEL_REGISTRY = Registry("model", home="basicsr.models")
LOSS_REGISTRY = Registry("loss", home="basicsr.losses")
METRIC_REGISTRY = Registry("metric", home="basicsr.metrics")
SCHEDULER_REGISTRY = Registry("scheduler", home="basicsr.models.lr_scheduler")
OPTIMIZER_REGISTRY = Registry("optimizer", home="basicsr.engine.optim")
