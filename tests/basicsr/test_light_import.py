import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'BasicSR'}{os.pathsep}{ROOT}"}


def _run(code):
    return subprocess.run([sys.executable, "-c", code], check=True, env=ENV, capture_output=True, text=True).stdout


def test_import_basicsr_loads_neither_torch_nor_components():
    code = """
import sys, basicsr, basicsr.utils, basicsr.version
heavy = {'torch', 'torchvision', 'cv2', 'numpy', 'tensorboard', 'basicsr.archs', 'basicsr.models'} & set(sys.modules)
assert not heavy, heavy
print(basicsr.__version__)
"""
    assert _run(code).strip()


@pytest.mark.parametrize(
    "name",
    [
        "build_network",
        "build_dataset",
        "build_loss",
        "calculate_metric",
        "build_model",
        "scandir",
        "img2tensor",
        "imwrite",
    ],
)
def test_upstreams_names_are_found_on_the_package(name):
    import basicsr

    assert callable(getattr(basicsr, name))


def test_upstreams_names_are_found_in_utils():
    import basicsr.utils

    for name in basicsr.utils.__all__:
        assert getattr(basicsr.utils, name) is not None


def test_unknown_name_is_an_attribute_error():
    import basicsr
    import basicsr.utils

    for package in (basicsr, basicsr.utils):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = package.nonsense
