"""docs/options.md says what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_file_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_option_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_it_describes_sections_and_components() -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for part in ("`ema_decay`", "### NAFNet\n", "### ColorAwareLoss\n", "### PairedImageDataset\n", "### AdamW\n"):
        assert part in text
