#!/usr/bin/env python3
"""Recognise LEGO parts and colours over HTTP, with a page to try it. Needs no torch.

    python tools/serve_lego.py lego.onnx                       (then open http://127.0.0.1:7862/)
    curl -H "Content-Type: image/jpeg" --data-binary @brick.jpg http://127.0.0.1:7862/v1/predict
    curl -F a=@front.jpg -F b=@back.jpg "http://127.0.0.1:7862/v1/predict?together=true"

Needs: pip install numpy pillow onnxruntime fastapi uvicorn. The model is what tools/export_onnx.py wrote. Pictures stay
in memory and are never written. It answers this machine only; with --host 0.0.0.0 everybody in the network can use it,
because there is no password: add --allow-host NAME for the name or address that they call it by.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for entry in (str(ROOT), str(ROOT / "BasicSR")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

from basicsr.engine.cli import not_negative, positive, quiet_start, run_main  # noqa: E402


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", type=Path, help="the .onnx file")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=not_negative, default=7862, help="port (default 7862; 0 takes a free one)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a further name this server is called by")
    add("--threads", type=not_negative, default=0, help="threads of the network (default 0: one a core)")
    add("--max-image-mb", type=positive, default=12, help="largest picture (default 12)")
    add("--max-megapixels", type=positive, default=26, help="largest picture (default 26)")
    return parser.parse_args(arguments)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port in use is told before anything is loaded."""
    from basicsr.engine.errors import UserError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(f"--host {host} --port {port}: cannot listen there: {error}") from error
    return listener


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    from basicsr.engine.errors import UserError

    try:
        import uvicorn

        from plugins.lego.inference import ModelFileError
        from plugins.lego.serve import create_app
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: pip install numpy pillow onnxruntime fastapi uvicorn"
        ) from error
    from plugins.lego.serve_uploads import ServeLimits
    from plugins.local_server.request_guard import LOOPBACK

    listener = listening(args.host, args.port)
    image_bytes = args.max_image_mb * 2**20
    limits = ServeLimits(
        image_bytes=image_bytes,
        request_bytes=max(image_bytes + 2**20, ServeLimits.request_bytes),
        pixels=args.max_megapixels * 10**6,
    )
    try:
        app = create_app(args.model, limits, args.threads, (*LOOPBACK, args.host, *args.allow_host))
    except ModelFileError as error:
        raise UserError(str(error)) from error
    if args.host not in LOOPBACK:
        sys.stderr.write(f"anybody who reaches {args.host} can use this server; there is no password\n")
    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(f"http://{shown}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(app, log_level="warning", limit_concurrency=64, timeout_keep_alive=10, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    quiet_start()
    sys.exit(run_main(main))
