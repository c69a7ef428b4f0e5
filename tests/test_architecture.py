"""The direction of knowledge: tools -> plugins -> basicsr; task plug-ins never import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = sorted((ROOT / "BasicSR" / "basicsr").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
# Shared between the task plug-ins; neither may know a task.
SHARED = {"color_science", "classification", "sample_photos", "local_server"}


def imported(path: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_engine_imports_neither_plugins_nor_tools(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & {"plugins", "tools"}


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_no_tool_and_no_other_task(path: Path) -> None:
    names = imported(path)
    assert "tools" not in {name.split(".")[0] for name in names}
    own = path.relative_to(ROOT / "plugins").parts[0]
    others = {name.split(".")[1] for name in names if name.startswith("plugins.") and name.count(".") >= 1}
    assert others - {own} <= (SHARED if own not in SHARED else set())


def test_color_science_knows_neither_the_engine_nor_a_registry() -> None:
    for path in (ROOT / "plugins" / "color_science").rglob("*.py"):
        assert not [name for name in imported(path) if name.split(".")[0] == "basicsr"], path


def test_importing_the_engine_is_light() -> None:
    code = "import sys, basicsr; print(sorted({'torch', 'torchvision', 'cv2', 'tensorboard'} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "BasicSR"), "PATH": ""},
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.name)
def test_tools_are_thin(path: Path) -> None:
    """A tool parses arguments and prints; a class or a torch network in it would be logic in the wrong room."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert path.read_text(encoding="utf-8").count("\n") < 200
