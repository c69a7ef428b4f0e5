"""Writes LMDBs of images: ``X.lmdb`` with PNG values and a ``meta_info.txt`` of ``key.png (h,w,c) level`` lines."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from basicsr.engine.errors import UserError
from basicsr.engine.image_io import encode_png, read_image

_FIRST_MAP_SIZE = 2**30


def make_lmdb_from_imgs(
    data_path: str,
    lmdb_path: str,
    img_path_list: Sequence[str],
    keys: Sequence[str],
    batch: int = 5000,
    compress_level: int = 1,
    multiprocessing_read: bool = False,
    n_thread: int = 40,
    map_size: int | None = None,
) -> None:
    """Write images into a new LMDB, re-encoded as PNG. 16-bit samples keep their depth.

    Args:
        data_path: Folder of the images.
        lmdb_path: LMDB to make; must end in ``.lmdb`` and not exist.
        img_path_list: Image paths relative to ``data_path``.
        keys: One key for each. Keys may hold dots (``a.b`` and ``a.c`` stay different).
        batch: Images of one transaction.
        compress_level: PNG compression, 0 to 9.
        multiprocessing_read: Read and encode with ``n_thread`` threads.
        n_thread: See ``multiprocessing_read``.
        map_size: Bytes reserved; grows as needed where None.

    Raises:
        UserError: The lists do not fit, a key comes twice, the LMDB exists, or an image cannot be read.
    """
    if len(img_path_list) != len(keys):
        raise UserError(f"{lmdb_path}: {len(img_path_list)} images for {len(keys)} keys; give one key for each image.")
    doubled = [key for key, count in Counter(keys).items() if count > 1]
    if doubled:
        raise UserError(f"{lmdb_path}: {len(doubled)} keys come more than once, the first is '{doubled[0]}'.")
    paths = [os.path.join(data_path, name) for name in img_path_list]
    maker = LmdbMaker(lmdb_path, map_size or _FIRST_MAP_SIZE, batch, compress_level)
    try:
        for key, content, shape in _encoded(paths, keys, compress_level, n_thread if multiprocessing_read else 1):
            maker.put(content, key, shape)
    finally:
        maker.close()


def _encoded(
    paths: Sequence[str], keys: Sequence[str], compress_level: int, threads: int
) -> Iterator[tuple[str, bytes, tuple[int, int, int]]]:
    with ThreadPoolExecutor(max(1, threads)) as pool:
        running: deque[Future[tuple[str, bytes, tuple[int, int, int]]]] = deque()
        for path, key in zip(paths, keys, strict=True):
            running.append(pool.submit(read_img_worker, path, key, compress_level))
            if len(running) > threads + 1:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def read_img_worker(path: str, key: str, compress_level: int) -> tuple[str, bytes, tuple[int, int, int]]:
    """Read an image and encode it as PNG.

    Args:
        path: Image file.
        key: Returned with it.
        compress_level: 0 to 9.

    Returns:
        ``(key, PNG bytes, (h, w, c))``.
    """
    pixels = read_image(path)
    height, width, channels = pixels.shape
    return key, encode_png(pixels, compress_level), (int(height), int(width), int(channels))


class LmdbMaker:
    """Writes an LMDB image by image.

    Args:
        lmdb_path: LMDB to make; must end in ``.lmdb`` and not exist.
        map_size: Bytes reserved at first; doubled when full.
        batch: Images of one transaction.
        compress_level: Noted in ``meta_info.txt``.

    Raises:
        UserError: The path does not end in ``.lmdb``, or exists.
    """

    def __init__(self, lmdb_path: str, map_size: int = 1024**4, batch: int = 5000, compress_level: int = 1) -> None:
        if not str(lmdb_path).endswith(".lmdb"):
            raise UserError(f"{lmdb_path}: the folder of an LMDB must end in .lmdb.")
        if os.path.exists(lmdb_path):
            raise UserError(f"{lmdb_path}: exists already. Remove it or choose another name.")
        import lmdb

        self.lmdb_path, self.batch, self.compress_level = str(lmdb_path), batch, compress_level
        self._full_error: type[Exception] = lmdb.MapFullError
        self.env: Any = lmdb.open(self.lmdb_path, map_size=map_size)
        self._pending: list[tuple[bytes, bytes]] = []
        self._meta = open(os.path.join(self.lmdb_path, "meta_info.txt"), "w", encoding="utf-8")
        self.counter = 0

    def put(self, img_byte: bytes, key: str, img_shape: Sequence[int]) -> None:
        """Add an encoded image under ``key``; ``img_shape`` is (h, w, c)."""
        self._pending.append((key.encode("utf-8"), img_byte))
        height, width, channels = img_shape
        self._meta.write(f"{key}.png ({height},{width},{channels}) {self.compress_level}\n")
        self.counter += 1
        if len(self._pending) >= self.batch:
            self._commit()

    def _commit(self) -> None:
        while self._pending:
            try:
                with self.env.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
                self._pending = []
            except self._full_error:
                # A failed transaction leaves nothing behind: it is repeated with twice the room.
                self.env.set_mapsize(self.env.info()["map_size"] * 2)

    def close(self) -> None:
        """Write what is pending and close the files."""
        self._commit()
        self._meta.close()
        self.env.close()
