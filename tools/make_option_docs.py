"""Write docs/options.md from the signatures and docstrings of the sections and of all registered components.

    python tools/make_option_docs.py            write the file
    python tools/make_option_docs.py --check    exit status 1 if the file is not up to date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "BasicSR"), str(ROOT)]

from basicsr.engine.cli import quiet_start, run_main  # noqa: E402

if __name__ == "__main__":
    quiet_start()  # the imports below take seconds

from basicsr.engine.plugins import checkout_plugins, load_plugins  # noqa: E402
from basicsr.engine.schema_docs import document  # noqa: E402

TARGET = ROOT / "docs" / "options.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if the file is not up to date")
    args = parser.parse_args()
    load_plugins(checkout_plugins())
    text = document()
    if args.check:
        current = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
        if current != text:
            print("docs/options.md is not up to date: run python tools/make_option_docs.py", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
