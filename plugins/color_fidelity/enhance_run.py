"""From one image tensor to its enhanced copy: whole, in bands, or in blended tiles, whichever the memory allows."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import NAFNet
from basicsr.engine.errors import UserError
from basicsr.engine.precision import Precision
from plugins.color_fidelity.enhance_bands import CACHED_PIXELS, BandedNAFNet, can_be_banded, stored_bytes
from plugins.color_fidelity.enhance_network import OnnxNetwork
from plugins.color_fidelity.enhance_record import file_sha256

DEFAULT_TILE = 512
# Peak of a forward pass, in bytes for each pixel: measured for NAFNet (1,137 at width 32 in torch, 2,370 in ONNX
# Runtime), a careful guess for others.
NAFNET_BYTES_PER_WIDTH = 36
ONNX_BYTES_PER_WIDTH = 75
OTHER_BYTES = 8192
SHARE_OF_FREE_MEMORY = 0.8


@dataclass(frozen=True)
class Runner:
    """Applies a restoration network to images of any size.

    Attributes:
        net: The network, in evaluation mode, on its device.
        tile: 0 always runs the whole image at once; a number is the side in pixels of what is computed at once;
            ``auto`` runs a NAFNet on the CPU in bands that fit the cache, and else whole where the memory allows, or in
            pieces of 512.
        overlap: Pixels that tiles share, at most half a tile. NAFNet runs in exact bands and needs none.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    net: nn.Module
    tile: int | Literal["auto"] = "auto"
    overlap: int = 64
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.tile != "auto" and (self.tile < 0 or 0 < self.tile < 64):
            raise UserError(f"tile: {self.tile}: use auto, 0 (whole images) or a number from 64 on")
        if self.overlap < 0:
            raise UserError(f"overlap: {self.overlap}: use a number from 0 on")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.net.parameters()).device

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Enhance one image.

        Args:
            image: (1, C, H, W) float32 in [0, 1] on the CPU, any size.

        Returns:
            The network's output of the same shape, float32 on the CPU, not clamped.

        Raises:
            UserError: The whole image was asked for (tile 0) and does not fit in memory.
        """
        height, width = image.shape[-2:]
        # The statistics of the photo are taken before it is padded, and once, however it is cut.
        make_context = getattr(self.net, "make_context", None)
        context = None if make_context is None else make_context(image.to(self.device))
        padded = pad_to_multiple(image, int(getattr(self.net, "padder_size", 1)))
        with Precision(self.precision, self.device.type).autocast():
            return self._run(padded, context)[..., :height, :width]

    @property
    def exact(self) -> bool:
        """Whether the result is that of the whole image whatever ``tile`` says."""
        return can_be_banded(self.net)

    def _run(self, image: Tensor, context: Tensor | None) -> Tensor:
        if getattr(self.net, "whole_only", False):
            return self._whole_or_refuse(image, context)
        bands_are_faster = self.exact and self.device.type == "cpu"
        if self.tile == 0 or (self.tile == "auto" and not bands_are_faster and self._fits(image)):
            try:
                return self._whole(image, context)
            except torch.OutOfMemoryError as error:
                if self.tile == 0:
                    size = f"{image.shape[-1]}x{image.shape[-2]}"
                    raise UserError(
                        f"an image of {size} does not fit in the memory of {self.device}; use --tile auto"
                    ) from error
            torch.cuda.empty_cache()
        side = DEFAULT_TILE if self.tile == "auto" else int(self.tile)
        if isinstance(self.net, NAFNet) and self.exact:
            at_once = CACHED_PIXELS * torch.get_num_threads() if self.tile == "auto" and bands_are_faster else side**2
            return BandedNAFNet(self.net, at_once, self._storage(image))(image, context)
        return blended_tiles(lambda tile: self._whole(tile, context), image, side, min(self.overlap, side // 2))

    def _whole(self, image: Tensor, context: Tensor | None) -> Tensor:
        inputs = (image.to(self.device),) if context is None else (image.to(self.device), context)
        output: Tensor = self.net(*inputs)
        return output.float().cpu()

    def _whole_or_refuse(self, image: Tensor, context: Tensor | None) -> Tensor:
        """For a network that cannot be cut: the process would be killed in the middle of a folder."""
        if not self._fits(image):
            size = f"{image.shape[-1]}x{image.shape[-2]}"
            raise UserError(
                f"an image of {size} does not fit in memory whole, and this network cannot be cut into bands; use its "
                "checkpoint in place of the ONNX file, or --max-side"
            )
        return self._whole(image, context)

    def _storage(self, image: Tensor) -> torch.device:
        """Where bands leave their feature maps: on a GPU that has room for them, else in main memory."""
        pixels = image.shape[-2] * image.shape[-1]
        kept = stored_bytes(self.net, pixels) if isinstance(self.net, NAFNet) else 0
        if self.device.type == "cuda" and kept < SHARE_OF_FREE_MEMORY / 2 * free_memory(self.device):
            return self.device
        return torch.device("cpu")

    def _fits(self, image: Tensor) -> bool:
        pixels = image.shape[-2] * image.shape[-1]
        return pixels * bytes_per_pixel(self.net, self.precision) < SHARE_OF_FREE_MEMORY * free_memory(self.device)


def run_settings(run: Runner, checkpoint: Path, param_key: str | None, max_side: int | None) -> dict[str, Any]:
    """What decides how outputs look, as plain values for an output folder's record."""
    settings: dict[str, Any] = {
        "checkpoint": checkpoint.name,
        "sha256": file_sha256(checkpoint),
        "weights": param_key or "params_ema or params",
        "network": type(run.net).__name__,
        "precision": run.precision,
        "max_side": max_side,
    }
    return settings if run.exact else {**settings, "tile": run.tile, "overlap": run.overlap}


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Mirror an image at the bottom and right up to the next multiple; one too small to mirror repeats its edge."""
    height, width = image.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if not right and not bottom:
        return image
    mode = "reflect" if right < width and bottom < height else "replicate"
    return F.pad(image, (0, right, 0, bottom), mode=mode)


def blended_tiles(run: Callable[[Tensor], Tensor], image: Tensor, side: int, overlap: int) -> Tensor:
    """Run overlapping tiles and fade each into the next over their overlap.

    Only the network's local part is continuous over the seams; what it takes from the whole image differs by tile.

    Args:
        run: The network: (1, C, h, w) to the same shape on the CPU.
        image: (1, C, H, W) on the CPU.
        side: Side of a tile.
        overlap: Pixels shared by neighbours, at most half of ``side``.
    """
    total = torch.zeros_like(image)
    weights = torch.zeros_like(image[:, :1])
    height, width = image.shape[-2:]
    for top, left in itertools.product(_starts(height, side, overlap), _starts(width, side, overlap)):
        place = (..., slice(top, min(height, top + side)), slice(left, min(width, left + side)))
        result = run(image[place])
        fade = _fade(result.shape[-2], overlap).view(-1, 1) * _fade(result.shape[-1], overlap).view(1, -1)
        total[place] += result * fade
        weights[place] += fade
    return total / weights


def _starts(length: int, side: int, overlap: int) -> Iterator[int]:
    """Starts of tiles that cover ``length``; the last one is moved back so that it is whole."""
    last = max(0, length - side)
    yield from range(0, last, side - overlap)
    yield last


def _fade(length: int, overlap: int) -> Tensor:
    """Rises over the overlap, stays 1, falls; the sum over the tiles is divided out later."""
    ramp = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(ramp, ramp.flip(0)).clamp_max(overlap + 1) / (overlap + 1)


def bytes_per_pixel(net: nn.Module, precision: str) -> float:
    """Estimate of a forward pass's peak memory for each pixel."""
    size = OTHER_BYTES
    if isinstance(net, NAFNet):
        size = NAFNET_BYTES_PER_WIDTH * net.intro.out_channels
    elif isinstance(net, OnnxNetwork):
        size = ONNX_BYTES_PER_WIDTH * net.width
    return float(size) if precision == "fp32" else 0.75 * size


def free_memory(device: torch.device) -> int:
    """Bytes that may be used on a device: free GPU memory, or available main memory within the container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = [_proc_meminfo()]
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip().isdigit():
        available.append(int(limit.read_text()) - int(used.read_text()))
    return max(0, min(available))


def _proc_meminfo() -> int:
    """MemAvailable; where the system does not say, half of the main memory, or 4 GiB."""
    info = Path("/proc/meminfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * 2**30
