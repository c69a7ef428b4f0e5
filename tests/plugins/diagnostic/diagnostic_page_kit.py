"""The page behind a real server on a free port, and requests to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from plugins.diagnostic.page_limits import Limits
from plugins.diagnostic.photo_advice import Adviser


@contextmanager
def serving(adviser: Adviser, limits: Limits | None = None) -> Iterator[int]:
    """Run the page in a thread; gives the port."""
    import uvicorn

    from plugins.diagnostic.page import create_app

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(adviser, limits), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    start = time.monotonic()
    while not server.started:
        assert thread.is_alive() and time.monotonic() - start < 60
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)


def ask(
    port: int, path: str, body: Any = None, kind: str | None = "image/jpeg", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request: GET, or POST where there is a body. Underscores in names of headers are dashes."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and kind is not None:
        sent.setdefault("Content-Type", kind)
    try:
        link.request("GET" if body is None else "POST", path, body, sent)
        answer = link.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        link.close()


def told(answer: tuple[int, dict[str, str], bytes]) -> Any:
    """The JSON of an answer."""
    return json.loads(answer[2])
