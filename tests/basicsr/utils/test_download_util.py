"""Downloads, from local files and fake responses."""

import hashlib
import io
from email.message import Message

import pytest

from basicsr.engine.errors import UserError
from basicsr.utils.download_util import (
    download_file_from_google_drive,
    get_confirm_token,
    load_file_from_url,
    save_response_content,
)


class Response(io.BytesIO):
    def __init__(self, content=b"", cookies=()):
        super().__init__(content)
        self.headers = Message()
        for cookie in cookies:
            self.headers["Set-Cookie"] = cookie


def test_file_is_downloaded_once(tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights")
    target = load_file_from_url(source.as_uri(), model_dir=str(tmp_path / "models"), progress=False)
    assert target == str(tmp_path / "models" / "source.bin")
    source.unlink()
    assert load_file_from_url(source.as_uri(), model_dir=str(tmp_path / "models")) == target
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["source.bin"]


def test_default_folder_and_file_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = tmp_path / "a.bin"
    source.write_bytes(b"x")
    assert load_file_from_url(source.as_uri(), file_name="b.bin") == str(tmp_path / "hub" / "checkpoints" / "b.bin")


def test_failure_names_url_and_file(tmp_path):
    url = (tmp_path / "absent.pth").as_uri()
    with pytest.raises(UserError, match=r"cannot download file:.*absent\.pth to .*by hand"):
        load_file_from_url(url, model_dir=str(tmp_path / "models"))


def test_damaged_download_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="SHA-256 does not begin with 0123abcd"):
        save_response_content(Response(b"x"), str(tmp_path / "net-0123abcd.pth"))
    assert list(tmp_path.iterdir()) == []
    digest = hashlib.sha256(b"x").hexdigest()[:8]
    save_response_content(Response(b"x"), str(tmp_path / f"net-{digest}.pth"), file_size=1)
    assert (tmp_path / f"net-{digest}.pth").read_bytes() == b"x"


def test_google_drive_confirmation(tmp_path, monkeypatch):
    asked = []

    class Opener:
        def open(self, url, timeout):
            asked.append(url)
            return Response(b"data") if "confirm" in url else Response(cookies=["download_warning_1=abc; Path=/"])

    monkeypatch.setattr("urllib.request.build_opener", lambda *_: Opener())
    download_file_from_google_drive("some id", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b"data"
    assert "id=some%20id" in asked[0] and asked[1].endswith("confirm=abc")
    assert get_confirm_token(Response(cookies=["other=1"])) is None
