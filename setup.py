"""Installs the engine (import name ``basicsr``) and the plug-ins (``plugins``) as one distribution.

The distribution is called ``basicsr`` so that a package which requires ``basicsr>=1.4.2`` is satisfied by it and pip
does not install the abandoned one over it. ``python setup.py`` generates no file: a bare checkout runs as it is.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def version() -> str:
    text = (ROOT / "BasicSR" / "basicsr" / "version.py").read_text(encoding="utf-8")
    match = re.search(r'__version__ = "([^"]+)"', text)
    if match is None:
        raise SystemExit("BasicSR/basicsr/version.py holds no __version__")
    return match.group(1)


ENGINE = ["basicsr"] + [f"basicsr.{name}" for name in find_packages(str(ROOT / "BasicSR" / "basicsr"))]
PLUGINS = ["plugins"] + [f"plugins.{name}" for name in find_packages(str(ROOT / "plugins"))]

setup(
    name="basicsr",
    version=version(),
    description="A BasicSR-compatible training engine for current PyTorch, with plug-ins for colour-faithful photos",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=ENGINE + PLUGINS,
    package_dir={"basicsr": "BasicSR/basicsr", "plugins": "plugins"},
    package_data={"basicsr": ["py.typed"], "plugins": ["py.typed", "**/*.html", "**/*.css", "**/*.js", "**/*.csv"]},
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "numpy>=1.26",
        "opencv-python>=4.9",
        "pillow>=10.3",
        "pyyaml>=6.0",
        "lmdb>=1.4",
        "safetensors>=0.4",
        "scikit-image>=0.22",
        "tifffile>=2023.7",
        "tensorboard>=2.15",
        "tqdm>=4.66",
    ],
    extras_require={
        # MS-SSIM as a training loss, the fast ΔE00, and the plots of the reports
        "color": ["pytorch-msssim>=1.0", "numba>=0.60", "matplotlib>=3.8"],
        # tools/export_onnx.py, and tools/enhance.py with a .onnx file
        "onnx": ["torch>=2.6", "onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.18"],
        # the photographs of the demo come out of these packages
        "demo": ["scikit-learn>=1.4"],
        # k-means of lights, rank correlations, plots
        "illuminant": ["scikit-learn>=1.4", "scipy>=1.11", "matplotlib>=3.8"],
        # refinement of heat maps by a dense conditional random field; built from source, needs a C++ compiler
        "crf": ["pydensecrf2>=1.1"],
        # tools/photo_app.py, the local page for photo diagnostics
        "app": ["fastapi>=0.110", "uvicorn>=0.29"],
        # rendering bricks
        "lego": ["numba>=0.60", "scipy>=1.11"],
        # any network of that library as the backbone of LegoClassifier
        "timm": ["timm>=1.0"],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "mypy>=1.11",
            "types-PyYAML",
            "colour-science>=0.4.4",
            "spandrel>=0.4",
            "setuptools>=68",
        ],
    },
    entry_points={
        "basicsr.plugins": [
            "classification = plugins.classification",
            "color_fidelity = plugins.color_fidelity",
            "diagnostic = plugins.diagnostic",
            "illuminant = plugins.illuminant",
            "lego = plugins.lego",
        ]
    },
)
