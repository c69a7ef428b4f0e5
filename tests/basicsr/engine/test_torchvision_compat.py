"""torchvision imports whether or not its compiled part loads."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from basicsr.engine import torchvision_compat
from basicsr.engine.errors import UserError

ROOT = Path(torchvision_compat.__file__).parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_import_in_a_fresh_process():
    code = (
        "from basicsr.engine.torchvision_compat import import_torchvision as f\n"
        "tv = f(); assert f() is tv\n"
        "import torch\n"
        "net = tv.models.resnet18(weights=None)\n"
        "assert tv.utils.make_grid(torch.zeros(2, 3, 4, 4)).shape[0] == 3\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_import_when_the_compiled_part_is_hidden():
    code = (
        "import importlib.machinery as m\n"
        "from basicsr.engine import torchvision_compat as c\n"
        "m.EXTENSION_SUFFIXES = ['.absent']\n"
        "import torch, sys\n"
        "real = torch.ops.load_library\n"
        "def refuse(path):\n"
        "    raise OSError(path)\n"
        "torch.ops.load_library = refuse\n"
        "tv = c.import_torchvision()\n"
        "assert c._declared and tv.models.vgg11(weights=None)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_archs_do_not_import_torchvision():
    done = run("import basicsr.archs, sys; assert not any(m.startswith('torchvision') for m in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_missing_torchvision_is_explained(monkeypatch):
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    real = find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torchvision" else real(name))
    with pytest.raises(UserError, match="pip install torchvision"):
        torchvision_compat.import_torchvision()
