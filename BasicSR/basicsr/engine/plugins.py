"""Plug-ins: packages or modules whose components join the registries when they are imported.

Which ones: those the option file lists under ``plugins``; without that key every installed one (entry points of the
group ``basicsr.plugins``) and, in a source checkout, the sub-packages of its own ``plugins`` folder.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from basicsr.engine.errors import UserError

GROUP = "basicsr.plugins"
MODULE_ENDINGS = ("_arch", "_dataset", "_loss", "_model", "_metric", "_sampler")
CHECKOUT = Path(__file__).resolve().parents[3]
# What importing somebody's module can raise without it being this program's fault.
_IMPORT_ERRORS = (
    ImportError,
    SyntaxError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_plugins(names: Sequence[str] | None = None, root: Path | None = None) -> list[str]:
    """Import plug-ins, so that their components are registered.

    Args:
        names: Module names as in the option ``plugins``; None for everything that is installed or lies in the checkout.
        root: The project's root. Plug-ins that lie in it are found without being installed.

    Returns:
        The names of the plug-ins that were loaded.

    Raises:
        UserError: A plug-in is missing or fails while it is imported; the message names it.
    """
    if root is not None and str(root) not in sys.path:
        sys.path.append(str(root))
    if names is None:
        names = default_plugins()
    for name in names:
        load_plugin(name)
    return list(names)


def default_plugins() -> list[str]:
    """The plug-ins that are loaded when an option file does not say: installed ones and the checkout's own."""
    found = dict.fromkeys(name for name in installed_plugins() if _exists(name))
    found.update(dict.fromkeys(checkout_plugins()))
    return list(found)


def installed_plugins() -> list[str]:
    """Module names of the installed entry points."""
    return sorted({point.module for point in entry_points(group=GROUP)})


def checkout_plugins() -> list[str]:
    """Names of the sub-packages of the ``plugins`` folder beside this engine, if it runs from a source checkout."""
    folder = CHECKOUT / "plugins"
    if CHECKOUT / "BasicSR" / "basicsr" / "engine" != Path(__file__).resolve().parent or not folder.is_dir():
        return []
    if str(CHECKOUT) not in sys.path:
        sys.path.append(str(CHECKOUT))
    return sorted(f"plugins.{init.parent.name}" for init in folder.glob("*/__init__.py"))


def _exists(name: str) -> bool:
    if plugin_source(name) is not None:
        return True
    message = "the installed plug-in '%s' is not there any more; it is left out"
    logging.getLogger("basicsr").warning(message, name)
    return False


def load_plugin(name: str) -> None:
    """Import one plug-in: the module itself and, in a package, its modules that follow the naming convention.

    Args:
        name: Module name, such as ``plugins.color_fidelity``.

    Raises:
        UserError: It is missing or fails while it is imported.
    """
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"plugins: '{name}' is no module name; write it with dots, without .py: a_package.plugin")
    if plugin_source(name) is None:
        raise UserError(
            f"plugins: '{name}' is not installed and not in the project's root; "
            f"there are: {', '.join(default_plugins()) or 'none'}"
        )
    module = _import(name, name)
    for found in sorted(_component_modules(module)):
        _import(found, name)


def _component_modules(module: ModuleType) -> Iterable[str]:
    if not hasattr(module, "__path__"):
        return
    for info in pkgutil.iter_modules(module.__path__, f"{module.__name__}."):
        if info.ispkg:
            yield from _modules_below(module, info.name)
        elif info.name.endswith(MODULE_ENDINGS):
            yield info.name


def _modules_below(module: ModuleType, package: str) -> Iterable[str]:
    """Component modules of a sub-package, found by their file names: the package is imported only if it has one."""
    relative = package[len(module.__name__) + 1 :].split(".")
    for parent in module.__path__:
        folder = Path(parent, *relative)
        for file in folder.rglob("*.py"):
            if file.stem.endswith(MODULE_ENDINGS):
                yield ".".join([package, *file.relative_to(folder).with_suffix("").parts])


def _import(name: str, plugin: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except _IMPORT_ERRORS as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"plugins: '{plugin}' fails while {name} is imported: {what}") from error


def plugin_source(name: str) -> Path | None:
    """The file or folder of a plug-in, found without importing it.

    Args:
        name: Module name.

    Returns:
        A package's folder or a module's file; None if there is none.
    """
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        spec = None
    places: list[Path] = []
    if spec is not None:
        places = [Path(item) for item in spec.submodule_search_locations or ()]
        if not rest:
            return places[0] if places else Path(spec.origin) if spec.origin else None
    for place in places:
        target = place.joinpath(*rest)
        if target.is_dir():
            return target
        if target.with_suffix(".py").is_file():
            return target.with_suffix(".py")
    return None
