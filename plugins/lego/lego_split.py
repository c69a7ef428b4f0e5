"""Which pieces train and which are held out: a hash of the piece decides, so a new piece moves no other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from basicsr.engine.errors import UserError
from plugins.lego.lego_manifest import REAL, TEST, TRAIN, VAL


@dataclass(frozen=True)
class SplitShares:
    """Shares of the real pieces that are held out, and the seed of the division.

    Attributes:
        val: For validation.
        test: For the final figures.
        seed: Another seed is another division.

    Raises:
        UserError: The shares are not shares.
    """

    val: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.val <= 1 and 0 <= self.test <= 1 and self.val + self.test <= 1):
            raise UserError(f"split: val {self.val} and test {self.test} must be shares that add up to at most 1")

    def of_piece(self, piece: str) -> str:
        """The split of a piece or capture session; a function of its name and of nothing else."""
        digest = hashlib.sha256(f"{self.seed}:{piece}".encode()).digest()
        place = int.from_bytes(digest[:7], "big") / 2**56
        if place < self.test:
            return TEST
        return VAL if place < self.test + self.val else TRAIN

    def of_image(self, source: str, piece: str) -> str:
        """The split of an image: synthetic ones always train, real ones go with their piece.

        Raises:
            UserError: A real image has no piece.
        """
        if source != REAL:
            return TRAIN
        if not piece:
            raise UserError("a real image has no piece or capture session, so it cannot be held out with its like")
        return self.of_piece(piece)
