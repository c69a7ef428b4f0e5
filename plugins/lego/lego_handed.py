"""Parts whose mirror image is another part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from basicsr.engine.errors import UserError

HANDED_PARTS = frozenset(
    """
    41747 41748 41749 41750 41764 41765 41767 41768 41769 41770 42060 42061 43710 43711 43720 43721 43722 43723
    47397 47398 50304 50305 50955 50956 54383 54384 29119 29120 64391 64683 65426 65429 6564 6565
    """.split()
)
"""Right and left wedges, wedge plates, wings and panels: pairs that a horizontal flip turns into each other."""


def flippable(rule: str | Sequence[str], parts: Sequence[str], where: str) -> np.ndarray[Any, Any]:
    """Which classes of parts may be mirrored.

    Args:
        rule: ``symmetric``, ``all``, ``none``, or the part ids that may.
        parts: Class ids.
        where: For messages.

    Returns:
        (K,) bool.

    Raises:
        UserError: Another word, or a listed id is no class.
    """
    if isinstance(rule, str):
        if rule not in ("symmetric", "all", "none"):
            raise UserError(f"{where}: hflip_parts: '{rule}': use symmetric, all, none, or a list of part ids")
        return np.array([rule == "all" or (rule == "symmetric" and not _handed(part)) for part in parts], bool)
    allowed = {str(part).lower() for part in rule}
    strangers = sorted(allowed - set(parts))
    if strangers:
        raise UserError(f"{where}: hflip_parts: {', '.join(strangers[:8])}: no such class of parts")
    return np.array([part in allowed for part in parts], bool)


def _handed(part: str) -> bool:
    return part in HANDED_PARTS or part.rstrip("abcdefgh") in HANDED_PARTS
