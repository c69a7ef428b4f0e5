"""A BasicSR-compatible training engine for current PyTorch.

Importing the package is light: torch, torchvision and the components load when they are used.
"""

from basicsr.version import __version__

__all__ = ["__version__"]
