"""Names and components."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from basicsr.engine.errors import UserError
from basicsr.utils import registry as registries
from basicsr.utils.registry import DuplicateNameError, Registry


class NAFNet:
    pass


def other_place() -> type:
    class NAFNet:
        pass

    return NAFNet


def test_register_as_decorator_and_as_call() -> None:
    registry = Registry("arch")

    @registry.register()
    class Mine:
        pass

    assert registry.register(NAFNet) is None
    assert registry.get("Mine") is Mine and registry.get("NAFNet") is NAFNet
    assert "Mine" in registry and "Other" not in registry
    assert dict(iter(registry)) == {"Mine": Mine, "NAFNet": NAFNet} and list(registry.keys()) == ["Mine", "NAFNet"]


def test_a_name_registered_twice_names_both_places() -> None:
    registry = Registry("arch")
    registry.register(NAFNet)
    registry.register(NAFNet)
    with pytest.raises(AssertionError) as caught:
        registry.register(other_place())
    assert isinstance(caught.value, DuplicateNameError)
    assert "NAFNet" in str(caught.value) and "other_place" in str(caught.value)


def test_the_suffix_is_a_fallback_that_is_logged_and_not_printed(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry("arch")
    registry.register(NAFNet, suffix="basicsr")
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    try:
        caplog.set_level(logging.INFO, logger="basicsr")
        assert registry.get("NAFNet") is NAFNet
        assert "Name NAFNet is not found, use name: NAFNet_basicsr!" in caplog.text
        caplog.clear()
        with pytest.raises(KeyError):
            registry.get("Nothing")
        assert caplog.text == ""
    finally:
        logger.removeHandler(caplog.handler)
    assert capsys.readouterr().out == ""


def test_an_unknown_name_says_what_there_is() -> None:
    registry = Registry("arch")
    registry.register(NAFNet)
    with pytest.raises(KeyError) as caught:
        registry.get("NafNet")
    text = str(caught.value)
    assert text.startswith("No object named 'NafNet' found in 'arch' registry!") and "Did you mean 'NAFNet'?" in text
    assert isinstance(caught.value, UserError)
    with pytest.raises(KeyError, match="Registered: NAFNet"):
        registry.get("Quite different")


def test_the_engines_own_components_are_imported_when_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home_of_tests.py"
    home.write_text("import keeper\nkeeper.REGISTRY.register(keeper.NAFNet)\n", encoding="utf-8")
    (tmp_path / "keeper.py").write_text(
        "from basicsr.utils.registry import Registry\nREGISTRY = Registry('arch', home='home_of_tests')\n"
        "class NAFNet: pass\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import keeper  # type: ignore[import-not-found]

    assert "home_of_tests" not in sys.modules
    assert "NAFNet" in keeper.REGISTRY and "home_of_tests" in sys.modules


def test_a_home_that_fails_fails_every_time() -> None:
    registry = Registry("arch", home="no_such_module_of_tests")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.get("NAFNet")


def test_the_five_registries_of_upstream_are_there() -> None:
    for name in ("DATASET", "ARCH", "MODEL", "LOSS", "METRIC"):
        assert isinstance(getattr(registries, f"{name}_REGISTRY"), Registry)
