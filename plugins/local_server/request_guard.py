"""What a local server refuses before anything else looks at a request: foreign hosts and foreign pages.

A server that listens on this machine only can still be reached through a browser that visits a bad site: by a form or
script of that site (hence the check of ``Origin``), or by a name that resolves to this machine (hence ``Host``).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        message: Why, for people.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class RequestGuard:
    """Checks ``Host`` and ``Origin`` of every request and adds ``SECURITY_HEADERS`` to every answer.

    Args:
        app: The application behind it.
        hosts: Names that this server may be called, without port.
    """

    def __init__(self, app: App, hosts: tuple[str, ...] = LOOPBACK) -> None:
        self.app, self.hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        fault = self.fault(scope)

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        if fault is None:
            await self.app(scope, receive, with_headers)
            return
        body = json.dumps({"error": fault}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await with_headers({"type": "http.response.start", "status": 403, "headers": headers})
        await with_headers({"type": "http.response.body", "body": body})

    def fault(self, scope: Scope) -> str | None:
        """Why a request is refused; None if it is not."""
        pairs = [
            (name.decode("latin-1").lower(), value.decode("latin-1").strip().lower())
            for name, value in scope["headers"]
        ]
        named = [value for name, value in pairs if name == "host"]
        if len(named) != 1 or host_name(named[0]) not in self.hosts:
            return "this server does not answer to that name; start it with --allow-host NAME"
        if scope["method"] in ("GET", "HEAD"):
            return None
        for name, value in pairs:
            foreign = name == "origin" and value not in (f"http://{named[0]}", f"https://{named[0]}")
            if foreign or (name == "sec-fetch-site" and value not in ("same-origin", "none")):
                return "the request comes from another page"
        return None


def host_name(host: str) -> str:
    """The name in a ``Host`` header, in small letters, without port and brackets."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
