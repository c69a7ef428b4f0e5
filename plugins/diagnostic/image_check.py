"""What counts as a photo here: one check for every public function."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_rgb(image: Any) -> np.ndarray:
    """A photo as contiguous uint8, or a ``ValueError`` that says what is wrong with it.

    Args:
        image: (H, W, 3) RGB with values 0 to 255. Integers and floats are taken; floats are rounded.

    Returns:
        (H, W, 3) uint8; a uint8 photo is not copied unless its memory is turned around (``bgr[..., ::-1]``).

    Raises:
        ValueError: No array, another shape, no pixels, values that are not finite or outside 0 to 255, or floats that
            are all within [0, 1], which are a photo on another scale.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"the image is a {type(image).__name__}; expected an array (H, W, 3) of RGB values 0 to 255")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"the image has the shape {image.shape}; expected (H, W, 3), RGB, with at least one pixel")
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    if not (np.issubdtype(image.dtype, np.integer) or np.issubdtype(image.dtype, np.floating)):
        raise ValueError(f"the image has values of type {image.dtype}; expected RGB values 0 to 255")
    low, high = image.min(), image.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("the image holds values that are not finite; expected RGB values 0 to 255")
    if low < 0 or high > 255:
        raise ValueError(f"the image holds values from {low} to {high}; expected RGB values 0 to 255")
    if np.issubdtype(image.dtype, np.floating) and 0 < high <= 1:
        raise ValueError(f"the image holds values from {low} to {high}, as if 1 were white; multiply them by 255")
    return np.ascontiguousarray(np.rint(image).astype(np.uint8))
