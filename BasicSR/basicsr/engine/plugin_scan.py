"""Which plug-in would bring a component, read from the plug-ins' source text without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from basicsr.engine.plugins import checkout_plugins, installed_plugins, plugin_source


def providers(name: str, registry: str, root: Path | None = None) -> list[str]:
    """Known plug-ins that register a name.

    Args:
        name: The component's name.
        registry: The registry's name (``arch``, ``loss``, ...).
        root: A project's root, of which the sub-packages of ``plugins`` are searched too.

    Returns:
        Module names for the option ``plugins``.
    """
    plugins = [*installed_plugins(), *checkout_plugins()]
    if root is not None:
        plugins += [f"plugins.{init.parent.name}" for init in sorted(root.glob("plugins/*/__init__.py"))]
    found = []
    for plugin in dict.fromkeys(plugins):
        source = plugin_source(plugin)
        if source is not None and any(name in registered_names(file, registry) for file in _files(source)):
            found.append(plugin)
    return found


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    else:
        yield from sorted(source.rglob("*.py"))


def registered_names(file: Path, registry: str) -> set[str]:
    """Names of the classes and functions in a Python file that carry ``@<REGISTRY>.register(...)``."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text) if f"{registry.upper()}_REGISTRY" in text else None
    except (OSError, SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and any(
            _registers(decorator, f"{registry.upper()}_REGISTRY") for decorator in node.decorator_list
        ):
            names.add(node.name)
    return names


def _registers(decorator: ast.expr, registry: str) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    if not isinstance(function, ast.Attribute) or function.attr != "register":
        return False
    owner = function.value
    return (isinstance(owner, ast.Name) and owner.id == registry) or (
        isinstance(owner, ast.Attribute) and owner.attr == registry
    )
