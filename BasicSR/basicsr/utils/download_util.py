"""Downloads: into a temporary file, checked, then renamed: a broken download never looks like a finished one."""

from __future__ import annotations

import hashlib
import http.cookiejar
import os
import re
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import torch

from basicsr.engine.errors import UserError

_TIMEOUT_SECONDS = 20
_CHUNK = 1 << 20
_DRIVE_URL = "https://docs.google.com/uc?export=download"
_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,})\.")


def load_file_from_url(
    url: str, model_dir: str | None = None, progress: bool = True, file_name: str | None = None
) -> str:
    """Return a local copy of a file, downloading it if there is none yet.

    Args:
        url: Where the file is.
        model_dir: Folder of the copy; torch's download folder by default.
        progress: Show a progress line on a terminal.
        file_name: Name of the copy; that in the URL by default. Where a name ends in ``-<digits of its SHA-256>``, as
            in torch's model zoo, the digits are checked.

    Returns:
        The absolute path of the copy.

    Raises:
        UserError: If there is no copy and it cannot be downloaded; the message names the URL and the file.
    """
    folder = Path(model_dir or os.path.join(torch.hub.get_dir(), "checkpoints"))
    target = (folder / (file_name or os.path.basename(urllib.parse.urlparse(url).path))).absolute()
    if target.exists():
        return str(target)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            size = int(response.headers.get("Content-Length") or 0)
            save_response_content(response, str(target), size if progress else None)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot download {url} to {target}: {error}. Put the file there by hand") from error
    return str(target)


def download_file_from_google_drive(file_id: str, save_path: str) -> None:
    """Download a shared file, passing Google Drive's "too large to scan for viruses" page.

    Args:
        file_id: The identifier in the file's link.
        save_path: The file to write.

    Raises:
        UserError: If it cannot be downloaded.
    """
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    url = f"{_DRIVE_URL}&id={urllib.parse.quote(file_id)}"
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
            token = get_confirm_token(response)
            if token is None:
                save_response_content(response, save_path)
                return
        with opener.open(f"{url}&confirm={token}", timeout=_TIMEOUT_SECONDS) as response:
            save_response_content(response, save_path)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot download Google Drive file {file_id} to {save_path}: {error}") from error


def get_confirm_token(response: Any) -> str | None:
    """The value of the cookie ``download_warning...`` of a Google Drive response, or none."""
    for header in response.headers.get_all("Set-Cookie") or []:
        name, _, value = header.partition("=")
        if name.startswith("download_warning"):
            return str(value.partition(";")[0])
    return None


def save_response_content(
    response: Any, destination: str, file_size: int | None = None, chunk_size: int = _CHUNK
) -> None:
    """Write a response's body to a file, which appears only when it is complete.

    Args:
        response: Anything with ``read(size)``.
        destination: The file to write; its folder is made.
        file_size: Expected size in bytes, for the progress line; none for no line.
        chunk_size: Bytes read at a time.

    Raises:
        UserError: If the SHA-256 in the file's name is not that of the content.
    """
    target = Path(destination)
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, done = hashlib.sha256(), 0
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            while chunk := response.read(chunk_size):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                _show_progress(target.name, done, file_size)
        expected = _HASH_IN_NAME.search(target.name)
        if expected and not digest.hexdigest().startswith(expected[1]):
            raise UserError(f"the download of {target.name} is damaged: its SHA-256 does not begin with {expected[1]}")
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _show_progress(name: str, done: int, size: int | None) -> None:
    if size is not None and sys.stderr.isatty():
        total = f" of {size / 1e6:.1f}" if size else ""
        sys.stderr.write(f"\r{name}: {done / 1e6:.1f}{total} MB" + ("\n" if done == size else ""))
