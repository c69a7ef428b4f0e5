import numpy as np
import pytest

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import read_image
from plugins.sample_photos import SamplePhoto, sample_photos


@pytest.mark.parametrize("photo", sample_photos(), ids=lambda photo: photo.name)
def test_every_photo_is_there_and_gray_only_where_it_says_so(photo: SamplePhoto) -> None:
    pixels = read_image(photo.path).astype(int)
    assert min(pixels.shape[:2]) >= 300
    assert photo.gray == (np.ptp(pixels, axis=2).max() == 0)


def test_names_are_unique() -> None:
    names = [photo.name for photo in sample_photos()]
    assert len(set(names)) == len(names)


def test_a_missing_package_or_file_is_named() -> None:
    with pytest.raises(UserError, match="nothing_like_it is not installed"):
        _ = SamplePhoto("nothing_like_it", "a.png", "").path
    with pytest.raises(UserError, match="no_such.png"):
        _ = SamplePhoto("skimage", "data/no_such.png", "").path
