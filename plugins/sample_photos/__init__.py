"""Photographs that installed packages carry, for demonstrations that need no download.

Every plug-in may use them; which of them a demonstration trains on and which it holds out is its own business.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from basicsr.engine.errors import UserError


@dataclass(frozen=True)
class SamplePhoto:
    """A photograph inside an installed package.

    Attributes:
        package: Import name of the package.
        file: The file inside it.
        credit: Author and licence.
        gray: Whether it is black and white.
    """

    package: str
    file: str
    credit: str
    gray: bool = False

    @property
    def name(self) -> str:
        """The file's name without its ending; no two are alike."""
        return Path(self.file).stem

    @property
    def path(self) -> Path:
        """Where it lies.

        Raises:
            UserError: The package is not installed, or does not carry the file.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise UserError(f"the package {self.package} is not installed: pip install -e '.[color,demo]'")
        path = Path(spec.origin).parent / self.file
        if not path.is_file():
            raise UserError(f"{path} is missing: this version of {self.package} does not carry it. Use --photos DIR.")
        return path


_SKIMAGE = "skimage"
_CC_BY = "Creative Commons Attribution 2.0"
_CATALOGUE = (
    SamplePhoto(_SKIMAGE, "data/astronaut.png", "NASA, public domain"),
    SamplePhoto("sklearn", "datasets/images/china.jpg", f"danielbuechele, {_CC_BY}"),
    SamplePhoto(_SKIMAGE, "data/ihc.png", "CMMI, no known copyright restrictions"),
    SamplePhoto(_SKIMAGE, "data/hubble_deep_field.jpg", "NASA, public domain"),
    SamplePhoto(_SKIMAGE, "data/brick.png", "CC0Textures, CC0", gray=True),
    SamplePhoto(_SKIMAGE, "data/gravel.png", "CC0Textures, CC0", gray=True),
    SamplePhoto(_SKIMAGE, "data/grass.png", "David Root / linolafett, CC0", gray=True),
    SamplePhoto(_SKIMAGE, "data/camera.png", "Lav Varshney, CC0", gray=True),
    SamplePhoto("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "US Navy, public domain"),
    SamplePhoto(_SKIMAGE, "data/retina.jpg", "Mikael Häggström, CC0"),
    SamplePhoto(_SKIMAGE, "data/chelsea.png", "Stefan van der Walt, CC0"),
    SamplePhoto(_SKIMAGE, "data/rocket.jpg", "SpaceX, public domain"),
    SamplePhoto(_SKIMAGE, "data/coffee.png", "Rachel Michetti, CC0"),
    SamplePhoto("sklearn", "datasets/images/flower.jpg", f"vultilion, {_CC_BY}"),
)


def sample_photos() -> list[SamplePhoto]:
    """All of them, in a fixed order; nothing is read."""
    return list(_CATALOGUE)
