"""The pairs that colour sets are made of, and small copies of their pictures, decoded no further than needed."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from basicsr.data.data_util import list_images, lmdb_keys, meta_name, paired_paths_from_meta_info_file, read_lines
from basicsr.data.image_store import STORE_SUFFIX, ImageStore
from basicsr.data.paired_image_dataset import PairedImageDataset, PairedImageOptions
from basicsr.engine import icc
from basicsr.engine import image_decoders as decoders
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import ImageHeader, decode_image, read_bytes, read_header
from basicsr.utils.file_client import FileClient

_SHOWN = 5
_BY_OPENCV = ("PNG", "WEBP", "BMP")


@dataclass(frozen=True)
class Picture:
    """A small copy: ``rgb`` (h, w, 3) sRGB uint8, and the ``height`` and ``width`` of the original."""

    rgb: np.ndarray
    height: int
    width: int


@dataclass(frozen=True)
class PairPaths:
    """One pair: the target's name as lists give it (relative to the targets' folder), and the keys of both halves."""

    name: str
    gt: str
    lq: str


class PictureReader:
    """Reads small copies from a folder, an LMDB or a memory-mapped store; several threads may use it at once.

    Args:
        root: The folder, ``.lmdb`` or ``.store``.

    Raises:
        UserError: It is an LMDB or store that cannot be opened.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._store = ImageStore(self.root) if self.root.endswith(STORE_SUFFIX) else None
        self._client: FileClient | None = None
        if self.root.endswith(".lmdb"):
            self._client = FileClient("lmdb", db_paths=[self.root], client_keys=["pictures"])

    def small(self, key: str, side: int) -> Picture:
        """Read one picture with its longer side at most ``side`` pixels (averaged, not sampled).

        Args:
            key: Path, key of the LMDB, or path inside the store.
            side: Pixels.

        Raises:
            UserError: The file is missing, damaged, or no image.
        """
        if self._store is not None:
            image = self._store.image(os.path.relpath(key, self.root))
            return Picture(shrink(as_8_bit(image.read()), side), image.height, image.width)
        content = read_bytes(key) if self._client is None else self._client.get(key, "pictures")
        name = key if self._client is None else f"{self.root}: key {key}"
        header = read_header(content, name)
        return Picture(shrink(_decode(content, header, name, side), side), header.height, header.width)

    def names(self) -> list[str]:
        """Keys of all its pictures, sorted."""
        if self._store is not None:
            return [os.path.join(self.root, name) for name in self._store.names()]
        if self._client is not None:
            return sorted(lmdb_keys(self.root))
        return [os.path.join(self.root, name) for name in list_images(self.root)]


def _decode(content: bytes, header: ImageHeader, name: str, side: int) -> np.ndarray:
    """Decode at 8 bit; a JPEG at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size that is not below ``side``."""
    if header.format in ("JPEG", "MPO") and header.mode in ("RGB", "L"):
        return _to_srgb(_reduced_jpeg(content, name, side), header)
    if header.format in _BY_OPENCV and header.orientation == 1:
        pixels = _by_opencv(content, header, name)
        if pixels is not None:
            return _to_srgb(pixels, header)
    return as_8_bit(decode_image(content, name, header=header))


def _reduced_jpeg(content: bytes, name: str, side: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (side, side))
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: the image is damaged: {error}. Replace or remove the file.") from error


def _by_opencv(content: bytes, header: ImageHeader, name: str) -> np.ndarray | None:
    """(H, W, 3) uint8, or None where OpenCV cannot read it."""
    try:
        # A file cut short must not be taken for a grey wall.
        if header.format == "PNG":
            decoders.check_png(content)
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except decoders.DecodeError as error:
        raise UserError(f"{name}: the image is damaged: {error}. Replace or remove the file.") from error
    except cv2.error:
        return None
    return None if bgr is None else np.ascontiguousarray(bgr[:, :, ::-1])


def _to_srgb(pixels: np.ndarray, header: ImageHeader) -> np.ndarray:
    if header.icc_profile is None:
        return pixels
    try:
        convert = icc.converter(header.icc_profile)
    except icc.ProfileError:
        return pixels
    return pixels if convert is None else convert(pixels)


def as_8_bit(pixels: np.ndarray) -> np.ndarray:
    """uint8 as it is, uint16 rounded to uint8."""
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257.0).astype(np.uint8)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image whose longer side is at most ``side`` pixels, averaged; smaller ones are returned as they are."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)


def find_pairs(options: PairedImageOptions) -> list[PairPaths]:
    """The pairs of a data set, each once, as ``PairedImageDataset`` finds them.

    Args:
        options: The roots, list, name template and backend; the phase does not matter.

    Returns:
        The pairs in the data set's order; repeated lines of its list count once.

    Raises:
        UserError: As the data set does; or an input cannot be found through a list of targets.
    """
    dataset = PairedImageDataset(options)
    folder = dataset.gt_folder
    lmdb = dataset.io_backend_opt["type"] == "lmdb"
    found: dict[str, PairPaths] = {}
    for paths in dataset.paths:
        name = f"{paths['gt_path']}.png" if lmdb else os.path.relpath(paths["gt_path"], folder)
        found.setdefault(name, PairPaths(name, paths["gt_path"], paths["lq_path"]))
    pairs = list(found.values())
    if not lmdb:
        _check_listable(pairs, dataset)
    return pairs


def _check_listable(pairs: Sequence[PairPaths], dataset: PairedImageDataset) -> None:
    """A list names targets; the data set derives the input from it, which fails where the endings differ."""
    for pair in pairs:
        if not _is_a_line(pair.name):
            raise UserError(
                f"{ascii(pair.name)}: a list cannot hold this name, which is not text of one line in UTF-8; rename the "
                "target and its input"
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.txt"
        path.write_text("".join(f"{list_line(pair.name, 1, 1)}\n" for pair in pairs), encoding="utf-8")
        folders, keys = [dataset.lq_folder, dataset.gt_folder], ["lq", "gt"]
        listed = paired_paths_from_meta_info_file(folders, keys, str(path), dataset.filename_tmpl)
    wrong = [
        pair for pair, other in zip(pairs, listed, strict=True) if other != {"lq_path": pair.lq, "gt_path": pair.gt}
    ]
    if wrong:
        shown = ", ".join(f"{os.path.basename(pair.lq)} for {pair.name}" for pair in wrong[:_SHOWN])
        raise UserError(
            f"{len(wrong)} input{'s' * (len(wrong) > 1)} cannot be found from a list of targets (meta_info_file): "
            f"{shown}{', ...' if len(wrong) > _SHOWN else ''}. Name inputs exactly like their targets, ending included."
        )


def _is_a_line(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name.splitlines()) == 1


def list_line(name: str, height: int, width: int) -> str:
    """A line of a ``meta_info`` file in upstream's format: ``name.png (height,width,3)``."""
    return f"{name} ({height},{width},3)"


def kept_names(path: Path, pairs: Iterable[PairPaths]) -> set[str]:
    """Names that a list of kept pairs holds.

    Raises:
        UserError: The list cannot be read, is empty, or names a target that is not among ``pairs``.
    """
    names = {meta_name(line) for line in read_lines(path, "list of the validation set to keep")}
    missing = sorted(names - {pair.name for pair in pairs})
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of its names are not among the targets; first: {missing[0]}. A list names targets "
            "of the data set that is divided; for a validation set in a folder of its own give that folder."
        )
    return names
