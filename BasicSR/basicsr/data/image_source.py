"""Where a data set's pixels come from: encoded files (disk, LMDB, memcached) or a memory-mapped store.

``source.open(key)`` returns an image that knows its size and can ``read`` a box of itself, so a data set chooses its
crop first and reads only that.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from basicsr.data.image_store import STORE_SUFFIX, ImageStore
from basicsr.engine.errors import UserError
from basicsr.engine.image_io import NOTE_TEXTS, Box, ImageHeader, decode_image, note_text, read_header
from basicsr.utils.file_client import FileClient


class SourceImage(Protocol):
    """An image that has been found but not decoded."""

    height: int
    width: int

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return ``(h, w, 3)`` RGB uint8 or uint16 of the box (top, left, height, width), or of the whole image."""
        ...

    def points(self, step: int) -> np.ndarray:
        """Return every ``step``-th pixel in both directions; cheap from a store, a whole decode from a file."""
        ...


class ImageSource(Protocol):
    """Opens images by path or key."""

    def open(self, key: str) -> SourceImage: ...


class NoteLog:
    """Logs each kind of conversion once for a data set, over all its loader processes."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._kinds = list(NOTE_TEXTS)
        # Shared memory: the loader's worker processes see what another of them has logged already.
        self._said = torch.zeros(len(self._kinds), dtype=torch.uint8).share_memory_()

    def __call__(self, kind: str, name: str) -> None:
        index = self._kinds.index(kind)
        if not self._said[index]:
            self._said[index] = 1
            logging.getLogger("basicsr").warning("%s: %s", self.owner, note_text(kind, name))


class DecodedCache:
    """The most recently decoded images, up to ``max_bytes``; never changes what is read, only what it costs."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._images: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, str]) -> np.ndarray | None:
        pixels = self._images.get(key)
        if pixels is not None:
            self._images.move_to_end(key)
        return pixels

    def put(self, key: tuple[str, str], pixels: np.ndarray) -> None:
        if key in self._images or pixels.nbytes > self.max_bytes:
            return
        self._images[key] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > self.max_bytes:
            _, dropped = self._images.popitem(last=False)
            self._bytes -= dropped.nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes, "_images": OrderedDict(), "_bytes": 0}


class _ArrayImage:
    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, box: Box | None = None) -> np.ndarray:
        # A copy: what is handed out may be changed, what is cached may not.
        if box is None:
            return self.pixels.copy()
        top, left, height, width = box
        return self.pixels[top : top + height, left : left + width].copy()

    def points(self, step: int) -> np.ndarray:
        return self.pixels[::step, ::step].copy()


class _EncodedImage:
    def __init__(self, source: EncodedSource, key: str, content: bytes) -> None:
        self._source, self._key, self._content = source, key, content
        self._header: ImageHeader = read_header(content, source.display_name(key))
        self.height, self.width = self._header.height, self._header.width

    def read(self, box: Box | None = None) -> np.ndarray:
        source, name = self._source, self._source.display_name(self._key)
        if box is not None and not source.worth_keeping(self.height * self.width * 3):
            return decode_image(self._content, name, source.note, box, self._header)
        pixels = decode_image(self._content, name, source.note, None, self._header)
        source.cache.put((source.client_key, self._key), pixels)
        return _ArrayImage(pixels).read(box) if box is not None else pixels.copy()

    def points(self, step: int) -> np.ndarray:
        return np.ascontiguousarray(self.read()[::step, ::step])


class EncodedSource:
    """Encoded images from a file client.

    Args:
        backend: Mapping with ``type`` (disk, lmdb, memcached) and the backend's own arguments.
        client_key: Which of the LMDB's databases.
        note: Told about conversions.
        cache: Shared cache of decoded images.
        many_crops: Several crops will be taken from one image in a row: decode it whole and keep it.
    """

    def __init__(
        self, backend: Mapping[str, Any], client_key: str, note: NoteLog, cache: DecodedCache, many_crops: bool = False
    ) -> None:
        self.client_key, self.note, self.cache, self.many_crops = client_key, note, cache, many_crops
        self._backend = dict(backend)
        self._client: FileClient | None = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_pid": -1}

    def display_name(self, key: str) -> str:
        if self._backend["type"] != "lmdb":
            return key
        paths, names = self._backend["db_paths"], self._backend["client_keys"]
        return f"{paths[names.index(self.client_key)]}: key {key}"

    def worth_keeping(self, decoded_bytes: int) -> bool:
        # An image that would push out most of the cache is cheaper to read in part, unless it is wanted again at once.
        limit = self.cache.max_bytes if self.many_crops else self.cache.max_bytes // 16
        return decoded_bytes <= limit

    def open(self, key: str) -> SourceImage:
        pixels = self.cache.get((self.client_key, key))
        if pixels is not None:
            return _ArrayImage(pixels)
        if self._client is None or self._pid != os.getpid():
            arguments = {k: v for k, v in self._backend.items() if k != "type"}
            self._client, self._pid = FileClient(self._backend["type"], **arguments), os.getpid()
        return _EncodedImage(self, key, self._client.get(key, self.client_key))


class StoreSource:
    """Images of a memory-mapped store; keys are ``<store folder>/<name>``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.store = ImageStore(folder)

    def open(self, key: str) -> SourceImage:
        return self.store.image(key[len(self.folder) :].lstrip("/"))


def backend_options(io_backend: Mapping[str, Any] | None, roots: Mapping[str, str], where: str) -> dict[str, Any]:
    """Settle which backend serves the data roots, from ``io_backend`` and the roots' endings.

    Args:
        io_backend: The option, or None: then the ending decides (``.lmdb``, ``.store``, else a folder).
        roots: Data root by client key (``gt``, ``lq``).
        where: How messages call the data set.

    Returns:
        A new mapping with ``type`` (disk, lmdb, mmap, memcached) and the other arguments. ``roots`` is left alone; for
        ``mmap`` a root without the ending means the store beside it, see ``store_root``.

    Raises:
        UserError: The backend is unknown, or does not fit the roots.
    """
    given = dict(io_backend or {})
    endings = {_kind_by_ending(root) for root in roots.values()}
    if given and "type" not in given:
        raise UserError(f"{where}: io_backend needs a 'type': disk, lmdb, mmap or memcached.")
    kind = given.pop("type", None) or (endings.pop() if len(endings) == 1 else "disk")
    if kind not in ("disk", "lmdb", "mmap", "memcached"):
        raise UserError(f"{where}: io_backend type {kind!r} is unknown; one of disk, lmdb, mmap, memcached is right.")
    for key, root in roots.items():
        ending = _kind_by_ending(root)
        if kind == "lmdb" and ending != "lmdb":
            raise UserError(f"{where}: io_backend type 'lmdb' needs roots ending in .lmdb, dataroot_{key} is {root}.")
        if kind in ("disk", "mmap") and ending not in (kind, "disk"):
            raise UserError(
                f"{where}: dataroot_{key} is {root}, but io_backend type is '{kind}'. Use type '{ending}', or leave "
                "io_backend out and the ending decides."
            )
    return {"type": kind, **given}


def _kind_by_ending(root: str) -> str:
    clean = str(root).rstrip("/")
    return "lmdb" if clean.endswith(".lmdb") else "mmap" if clean.endswith(STORE_SUFFIX) else "disk"


def store_root(root: str) -> str:
    """The store that serves ``root``: itself, or the one beside the folder of that name."""
    clean = str(root).rstrip("/")
    return clean if clean.endswith(STORE_SUFFIX) else clean + STORE_SUFFIX
