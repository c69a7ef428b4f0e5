#!/usr/bin/env python3
"""A local web page that diagnoses photos: drop one, compare before and after, move the model's weight, download.

    python tools/photo_app.py                      (then open http://127.0.0.1:7861/)
    python tools/photo_app.py --model models/diagnostic_model.pth --port 8000

Needs: pip install -e '.[app]'. Photos stay in this process's memory and are never written. It answers this machine
only; with --host 0.0.0.0 everybody in the network can use it, because there is no password: add --allow-host NAME for
the name or address that they call it by. Without a model it says how to get one and shows the scenes' presets only.
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
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=not_negative, default=7861, help="port (default 7861; 0 takes a free one)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a further name this server is called by")
    add("--model", type=Path, help="weights of the DiagnosticCNN (default: models/diagnostic_model.pth)")
    add("--scene-weights", type=Path, help="weights of ImageNet MobileNetV2 (default: torch's folder of downloads)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--max-upload-mb", type=positive, default=40, help="largest file (default 40)")
    add("--max-megapixels", type=positive, default=60, help="largest photo (default 60)")
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

        from plugins.diagnostic.page import create_app
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "fastapi"):
            raise
        raise UserError(f"{error.name} is not installed: pip install -e '.[app]'") from error
    from basicsr.engine.device import resolve_device
    from plugins.diagnostic.model_files import find_diagnostic_model, load_diagnostic_model
    from plugins.diagnostic.page_limits import Limits
    from plugins.diagnostic.photo_advice import Adviser
    from plugins.diagnostic.scenes import find_scene_weights
    from plugins.local_server.request_guard import LOOPBACK

    listener = listening(args.host, args.port)
    device = resolve_device({"device": args.device})
    path = find_diagnostic_model(args.model)
    model = None if path is None else load_diagnostic_model(path, device)
    scenes = find_scene_weights(args.scene_weights)
    limits = Limits(upload_bytes=args.max_upload_mb * 2**20, pixels=args.max_megapixels * 10**6)
    app = create_app(
        Adviser(model, scenes, device), limits, (*LOOPBACK, args.host, *args.allow_host), scenes is not None
    )
    if args.host not in LOOPBACK:
        sys.stderr.write(f"anybody who reaches {args.host} can use this page; there is no password\n")
    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(f"http://{shown}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(app, log_level="warning", limit_concurrency=64, timeout_keep_alive=10, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    quiet_start()
    sys.exit(run_main(main))
