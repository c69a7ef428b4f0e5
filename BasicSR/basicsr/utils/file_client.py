"""Where bytes come from: a disk, an LMDB or a memcached server."""

from __future__ import annotations

import importlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from basicsr.engine.errors import UserError


class BaseStorageBackend(ABC):
    """A place that returns the content stored under a path or key."""

    @abstractmethod
    def get(self, filepath: str) -> bytes:
        """Return the content as bytes."""

    @abstractmethod
    def get_text(self, filepath: str) -> str:
        """Return the content as text."""


class HardDiskBackend(BaseStorageBackend):
    """Files in a file system."""

    def get(self, filepath: str | os.PathLike[str]) -> bytes:
        try:
            with open(filepath, "rb") as handle:
                return handle.read()
        except OSError as error:
            raise UserError(f"{os.fspath(filepath)}: cannot be read: {error.strerror or error}.") from error

    def get_text(self, filepath: str | os.PathLike[str]) -> str:
        return self.get(filepath).decode("utf-8")


class MemcachedBackend(BaseStorageBackend):
    """A memcached server, through the ``mc`` client library.

    Args:
        server_list_cfg: Configuration file of the server list.
        client_cfg: Configuration file of the client.
        sys_path: Folder of the ``mc`` module if it is not importable as it is.
    """

    def __init__(self, server_list_cfg: str, client_cfg: str, sys_path: str | None = None) -> None:
        if sys_path is not None:
            sys.path.append(sys_path)
        try:
            self._mc: Any = importlib.import_module("mc")
        except ImportError as error:
            raise UserError(
                "io_backend type 'memcached' needs the Python module 'mc' (the memcached client), which cannot be "
                "imported. Install it, or give its folder as io_backend.sys_path, or use type 'disk'."
            ) from error
        self.server_list_cfg = server_list_cfg
        self.client_cfg = client_cfg
        self._client = self._mc.MemcachedClient.GetInstance(server_list_cfg, client_cfg)
        self._mc_buffer = self._mc.pyvector()

    def get(self, filepath: str) -> bytes:
        self._client.Get(str(filepath), self._mc_buffer)
        return bytes(memoryview(self._mc.ConvertBuffer(self._mc_buffer)))

    def get_text(self, filepath: str) -> str:
        return self.get(filepath).decode("utf-8")


_lmdb_environments: dict[str, Any] = {}


def _open_lmdb(path: str, arguments: dict[str, Any]) -> Any:
    """Open an LMDB, or return it if this process has it open: LMDB allows one environment a process and file."""
    import lmdb

    key = os.path.realpath(path)
    if key not in _lmdb_environments:
        try:
            _lmdb_environments[key] = lmdb.open(path, **arguments)
        except lmdb.Error as error:
            raise UserError(f"{path}: cannot be opened as an LMDB ({error}).") from error
    return _lmdb_environments[key]


def _close_lmdbs() -> None:
    while _lmdb_environments:
        _lmdb_environments.popitem()[1].close()


# An environment must not live across a fork. Parent and child open their own when they next read.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_lmdbs)


class LmdbBackend(BaseStorageBackend):
    """One or several LMDBs.

    Args:
        db_paths: LMDB folders.
        client_keys: A name for each, used in ``get``.
        readonly: Open for reading only.
        lock: Use LMDB's lock file.
        readahead: Let the system read ahead (bad for random access).
        **kwargs: Further arguments of ``lmdb.open``.
    """

    def __init__(
        self,
        db_paths: str | Sequence[str],
        client_keys: str | Sequence[str] = "default",
        readonly: bool = True,
        lock: bool = False,
        readahead: bool = False,
        **kwargs: Any,
    ) -> None:
        paths = [db_paths] if isinstance(db_paths, (str, os.PathLike)) else list(db_paths)
        keys = [client_keys] if isinstance(client_keys, str) else list(client_keys)
        if len(paths) != len(keys):
            raise UserError(f"LMDB: {len(keys)} client keys {keys} for {len(paths)} databases; give one name for each.")
        self.db_paths = [str(path) for path in paths]
        self._open_args = {"readonly": readonly, "lock": lock, "readahead": readahead, **kwargs}
        self._keys = keys
        for path in self.db_paths:
            _open_lmdb(path, self._open_args)

    def get(self, filepath: str, client_key: str = "default") -> bytes:
        if client_key not in self._keys:
            raise UserError(f"LMDB: no database is called {client_key!r}; there are {self._keys}.")
        path = self.db_paths[self._keys.index(client_key)]
        with _open_lmdb(path, self._open_args).begin(write=False) as transaction:
            value = transaction.get(str(filepath).encode("utf-8"))
        if value is None:
            raise UserError(f"{path}: there is no key {str(filepath)!r} in this LMDB; is its meta_info.txt right?")
        return bytes(value)

    def get_text(self, filepath: str, client_key: str = "default") -> str:
        return self.get(filepath, client_key).decode("utf-8")


class FileClient:
    """Bytes by path or key from the backend called ``backend``.

    Args:
        backend: ``disk``, ``lmdb`` or ``memcached``.
        **kwargs: The backend's own arguments.

    Raises:
        UserError: No backend has that name.
    """

    _backends: dict[str, type[BaseStorageBackend]] = {
        "disk": HardDiskBackend,
        "memcached": MemcachedBackend,
        "lmdb": LmdbBackend,
    }

    def __init__(self, backend: str = "disk", **kwargs: Any) -> None:
        if backend not in self._backends:
            raise UserError(f"io_backend type {backend!r} is unknown; one of {', '.join(sorted(self._backends))} is.")
        self.backend = backend
        self.client: Any = self._backends[backend](**kwargs)

    def get(self, filepath: str, client_key: str = "default") -> bytes:
        if self.backend == "lmdb":
            return self.client.get(filepath, client_key)
        return self.client.get(filepath)

    def get_text(self, filepath: str, client_key: str = "default") -> str:
        if self.backend == "lmdb":
            return self.client.get_text(filepath, client_key)
        return self.client.get_text(filepath)
