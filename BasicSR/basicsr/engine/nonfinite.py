"""What happens when a loss or a gradient is NaN or infinite: the step is left out, then the run stops or goes on.

On the CPU the host looks at every step. On CUDA it does not wait for the device: the optimizer reads on the device
that the step is to be skipped, and the host learns of it some steps later. In neither case does a bad step reach the
weights.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from basicsr.engine import distributed
from basicsr.engine.errors import NonFiniteError, UserError

POLICIES = ("stop", "skip")
# With nothing but bad steps the run is stuck, and so is a loss scale that has been halved this often.
MAX_BAD_IN_A_ROW = 100
_MAX_PENDING = 16
_NAMES_SHOWN = 8

logger = logging.getLogger("basicsr")


@dataclass
class StepRecord:
    """One step, kept until the host knows whether it was good.

    Attributes:
        iteration: Its number.
        names: The files of its batch.
        parts: Loss parts, on the device.
        norm: Gradient norm before clipping, on the device.
        loss_bad: Whether the loss was NaN or infinite in any process, on the device.
        grad_bad: Whether a gradient was, on the device.
        own_bad: Whether the loss was in this process, on the device.
    """

    iteration: int
    names: Sequence[str]
    parts: Mapping[str, Tensor]
    norm: Tensor
    loss_bad: Tensor
    grad_bad: Tensor
    own_bad: Tensor

    def elsewhere(self) -> bool:
        """Whether it was another process's batch that was bad."""
        return bool(self.loss_bad) and not bool(self.own_bad)

    def describe(self) -> str:
        """The step in one paragraph: what was not finite, the loss parts, the files."""
        what = "the loss" if bool(self.loss_bad) else "a gradient"
        if self.elsewhere():
            return f"iteration {self.iteration}: {what} is not finite in another process, which names the files"
        parts = ", ".join(f"{key}: {float(value):.4e}" for key, value in self.parts.items()) or "no losses"
        names = [str(name) for name in self.names]
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        files = ", ".join(names[:_NAMES_SHOWN]) + more if names else "unknown (the model's feed_data keeps no paths)"
        norm = f"gradient norm: {float(self.norm):.4e}"
        return f"iteration {self.iteration}: {what} is not finite ({parts}; {norm}). Files of the batch: {files}"


class NonFiniteGuard:
    """Decides about bad steps.

    Args:
        policy: ``stop`` raises, ``skip`` counts and goes on.
        scaled: Whether gradients are scaled (fp16): an overflowing gradient is then part of finding the scale.

    Raises:
        UserError: Unknown policy.
    """

    def __init__(self, policy: str = "stop", scaled: bool = False) -> None:
        if policy not in POLICIES:
            raise UserError(f"train.non_finite: {policy}: use {' or '.join(POLICIES)}")
        self.policy = policy
        self.scaled = scaled
        self.skipped = 0
        self._in_a_row = 0
        self._pending: deque[tuple[StepRecord, Tensor, torch.cuda.Event]] = deque()

    def check_now(self, record: StepRecord) -> bool:
        """Look at a step before the optimizer moves (the host waits for the device).

        Returns:
            Whether the step is to be skipped.

        Raises:
            NonFiniteError: By policy.
        """
        bad = bool(record.loss_bad | record.grad_bad)
        self._judge(record, bad)
        return bad

    def watch(self, record: StepRecord) -> None:
        """Remember a CUDA step whose flags are not known yet, and judge those that are by now.

        Raises:
            NonFiniteError: An earlier step was bad, by policy.
        """
        flags = torch.empty((), dtype=torch.bool, pin_memory=True)
        flags.copy_(record.loss_bad | record.grad_bad, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending.append((record, flags, event))
        while self._pending and (len(self._pending) > _MAX_PENDING or self._pending[0][2].query()):
            self._judge_oldest()

    def flush(self) -> None:
        """Judge every step that was made; called before anything is logged or saved.

        Raises:
            NonFiniteError: One of them was bad, by policy.
        """
        while self._pending:
            self._judge_oldest()

    def _judge_oldest(self) -> None:
        record, flags, event = self._pending.popleft()
        event.synchronize()
        self._judge(record, bool(flags))

    def _judge(self, record: StepRecord, bad: bool) -> None:
        if not bad:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        overflow_only = self.scaled and not bool(record.loss_bad)
        if self._in_a_row >= MAX_BAD_IN_A_ROW:
            raise NonFiniteError(f"{self._in_a_row} steps in a row were not finite. {_sentence(record)}")
        if overflow_only:
            return
        if self.policy == "stop":
            raise NonFiniteError(
                f"{_sentence(record)} The weights are as they were before this step. Look at the files, lower the "
                "learning rate, set train.grad_clip, or set train.non_finite: skip to leave such batches out."
            )
        self.skipped += 1
        # Processes other than the first one show errors only; the one with the bad batch has to be heard.
        level = logging.ERROR if bool(record.own_bad) and not distributed.is_main() else logging.WARNING
        logger.log(level, "Step skipped (%d so far): %s", self.skipped, record.describe())


def _sentence(record: StepRecord) -> str:
    text = record.describe()
    return f"{text[0].upper()}{text[1:]}."
