"""Running a network on whole images: in fp32, in overlapping tiles, averaged over flips and rotations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from basicsr.engine.errors import UserError

Run = Callable[[Tensor], Tensor]


@contextlib.contextmanager
def full_precision(device_type: str, compiled: bool = False) -> Iterator[None]:
    """Validation computes in fp32 and eagerly: its numbers must not depend on how fast training was asked to be.

    Args:
        device_type: The device's.
        compiled: Whether a network may be compiled.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(device_type, enabled=False))
        if compiled and hasattr(torch.compiler, "set_stance"):
            # A compiled network would be compiled again for every image size.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def tile_size(val_opt: Mapping[str, Any], height: int, width: int, scale: int = 1) -> tuple[int, int]:
    """Read the size of the tiles of ``val.grids`` from the options.

    Args:
        val_opt: ``crop_size_h``, ``crop_size_w`` in target pixels, or ``crop_size_h_ratio``, ``crop_size_w_ratio``.
        height: Height of the input image.
        width: Width of the input image.
        scale: Size of the target relative to the input.

    Returns:
        Height and width of a tile in input pixels, at most the image's.

    Raises:
        UserError: Neither size nor ratio is given, or it is not positive.
    """
    sizes = []
    for axis, length in (("h", height), ("w", width)):
        size, ratio = val_opt.get(f"crop_size_{axis}"), val_opt.get(f"crop_size_{axis}_ratio")
        if size is None and ratio is None:
            key = f"val.crop_size_{axis}"
            raise UserError(f"val.grids: true needs {key} in pixels, or {key}_ratio as a share of the image")
        tile = int(size) // scale if size is not None else int(float(ratio) * length)  # type: ignore[arg-type]
        if tile < 1:
            raise UserError(f"val.crop_size_{axis}: {size if size is not None else ratio}: a tile has no pixels")
        sizes.append(min(tile, length))
    return sizes[0], sizes[1]


def tile_starts(length: int, tile: int) -> list[int]:
    """Where tiles begin so that the fewest of them cover the length, evenly spread, the last one flush with the end."""
    count = -(-length // tile)
    if count == 1:
        return [0]
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def tiled(run: Run, image: Tensor, height: int, width: int, max_minibatch: int | None = None) -> Tensor:
    """Run a network tile by tile; where tiles overlap their outputs are averaged.

    Args:
        run: (n, C, height, width) to (n, C', s * height, s * width) for a whole s.
        image: (N, C, H, W).
        height: Height of a tile, at most H.
        width: Width of a tile, at most W.
        max_minibatch: Most tiles at once; None for all.

    Returns:
        (N, C', s * H, s * W).
    """
    rows, columns = tile_starts(image.shape[-2], height), tile_starts(image.shape[-1], width)
    places = [(n, top, left) for n in range(len(image)) for top in rows for left in columns]
    total = weight = None
    step = max_minibatch or len(places)
    for start in range(0, len(places), step):
        some = places[start : start + step]
        outputs = run(torch.stack([image[n, :, top : top + height, left : left + width] for n, top, left in some]))
        scale = outputs.shape[-1] // width
        if total is None or weight is None:
            size = (image.shape[-2] * scale, image.shape[-1] * scale)
            total = outputs.new_zeros((len(image), outputs.shape[1], *size))
            weight = outputs.new_zeros((len(image), 1, *size))
        for (n, top, left), output in zip(some, outputs, strict=True):
            down = slice(top * scale, (top + height) * scale)
            across = slice(left * scale, (left + width) * scale)
            total[n, :, down, across] += output
            weight[n, :, down, across] += 1
    if total is None or weight is None:
        raise UserError("tiles: the image has no pixels")
    return total / weight


def self_ensemble(run: Run, image: Tensor) -> Tensor:
    """Average a network's output over the eight flips and rotations of its input.

    Args:
        run: (N, C, H, W) to (N, C', s * H, s * W), any H and W.
        image: (N, C, H, W).
    """
    total: Tensor | None = None
    for transpose in (False, True):
        for dims in ((), (-1,), (-2,), (-2, -1)):
            turned = image.flip(dims) if dims else image
            output = run(turned.transpose(-2, -1).contiguous() if transpose else turned)
            back = output.transpose(-2, -1) if transpose else output
            back = back.flip(dims) if dims else back
            total = back.clone() if total is None else total + back
    if total is None:
        raise UserError("self-ensemble: no pass was made")
    return total / 8
