"""Finding and loading plug-ins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from basicsr.engine import plugins
from basicsr.engine.errors import UserError
from basicsr.engine.plugin_scan import providers, registered_names
from basicsr.utils import registry as registries

ROOT = Path(__file__).resolve().parents[3]
LOSS = "from basicsr.utils.registry import LOSS_REGISTRY\n\n@LOSS_REGISTRY.register()\nclass {name}:\n    pass\n"


@pytest.fixture()
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    names, modules = set(registries.LOSS_REGISTRY.keys()), set(sys.modules)
    yield tmp_path
    for name in set(registries.LOSS_REGISTRY.keys()) - names:
        del registries.LOSS_REGISTRY._obj_map[name]
    for module in set(sys.modules) - modules:
        if module.startswith("tst_"):
            del sys.modules[module]


def package(site: Path, name: str, **files: str) -> None:
    for relative, text in {"__init__": "", **files}.items():
        file = site / name / f"{relative}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_a_package_s_modules_of_the_naming_convention_are_imported(site: Path) -> None:
    package(
        site,
        "tst_glow",
        glow_loss=LOSS.format(name="TstGlow"),
        helper="raise RuntimeError('not one of them')\n",
        **{"losses/__init__": "", "losses/deep_loss": LOSS.format(name="TstDeep")},
    )
    plugins.load_plugins(["tst_glow"])
    assert "TstGlow" in registries.LOSS_REGISTRY and "TstDeep" in registries.LOSS_REGISTRY


def test_a_plugin_of_one_file(site: Path) -> None:
    (site / "tst_one.py").write_text(LOSS.format(name="TstOne"), encoding="utf-8")
    assert plugins.load_plugins(["tst_one"]) == ["tst_one"]
    assert "TstOne" in registries.LOSS_REGISTRY


def test_a_plugin_in_the_projects_root_needs_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "tst_rooted.py").write_text("", encoding="utf-8")
    assert plugins.load_plugins(["tst_rooted"], tmp_path) == ["tst_rooted"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import no_such_package_x", "ModuleNotFoundError: No module named 'no_such_package_x'"),
        ("x = ", "SyntaxError"),
        ("raise KeyError('k')", "KeyError: 'k'"),
        (LOSS.format(name="L1Loss"), "DuplicateNameError: 'L1Loss' is already in the 'loss' registry: basicsr.losses"),
    ],
)
def test_a_plugin_that_fails_is_named(site: Path, text: str, what: str) -> None:
    registries.LOSS_REGISTRY.keys()
    package(site, "tst_bad", bad_loss=text)
    with pytest.raises(UserError, match="plugins: 'tst_bad' fails while tst_bad.bad_loss is imported") as caught:
        plugins.load_plugins(["tst_bad"])
    assert what in str(caught.value)
    del sys.modules["tst_bad"]


def test_a_missing_plugin_is_named_and_the_others_listed() -> None:
    with pytest.raises(UserError, match="'plugins.no_such_x' is not installed.*plugins.color_fidelity"):
        plugins.load_plugins(["plugins.no_such_x"])
    with pytest.raises(UserError, match="no module name"):
        plugins.load_plugins(["my_plugin/file.py"])


def test_without_a_list_installed_plugins_and_the_checkouts_own_are_loaded(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (site / "tst_installed.py").write_text(LOSS.format(name="TstInstalled"), encoding="utf-8")
    points = [EntryPoint(name, name, plugins.GROUP) for name in ("tst_installed", "tst_deleted")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    loaded = plugins.load_plugins(None)
    assert loaded[0] == "tst_installed" and "plugins.color_fidelity" in loaded and "tst_deleted" not in loaded
    assert "TstInstalled" in registries.LOSS_REGISTRY


def test_the_provider_of_a_component_is_found_without_importing_it(site: Path) -> None:
    assert providers("ColorAwareLoss", "loss") == ["plugins.color_fidelity"]
    assert providers("ColorAwareLoss", "arch") == []
    file = site / "x_loss.py"
    file.write_text("raise RuntimeError\n" + LOSS.format(name="Hidden"), encoding="utf-8")
    assert registered_names(file, "loss") == {"Hidden"}
    file.write_text("LOSS_REGISTRY = (", encoding="utf-8")
    assert registered_names(file, "loss") == set()


def test_an_unknown_type_names_the_plugin_that_would_bring_it(tmp_path: Path) -> None:
    """In a process of its own, where the plug-in has not been imported by other tests."""
    file = tmp_path / "x.yml"
    file.write_text(
        "name: x\nmodel_type: ImageRestorationModel\nplugins: []\ntrain: {pixel_opt: {type: ColorAwareLoss}}\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(ROOT / "tools" / "check_options.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "x.yml:2: model_type: no model of the name 'ImageRestorationModel'" in done.stderr
    assert "The plug-in plugins.color_fidelity would bring it: add it to 'plugins'." in done.stderr
    assert "x.yml:4: train.pixel_opt.type: no loss of the name 'ColorAwareLoss'" in done.stderr
