"""One training step, the same for every task: forward, losses, backward, clip, step.

What differs between tasks comes in as two functions (how to run the network, how to get the losses) and the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from basicsr.engine import distributed
from basicsr.engine.errors import UserError
from basicsr.engine.nonfinite import NonFiniteGuard, StepRecord
from basicsr.engine.optim import skips_on_device
from basicsr.engine.precision import Precision, map_tensors, to_fp32

Forward = Callable[[Mapping[str, Any]], Any]
Losses = Callable[[Any, Mapping[str, Any]], tuple[Tensor, Mapping[str, Tensor]]]


@dataclass
class StepResult:
    """What a step leaves behind, all on the device.

    Attributes:
        parts: Loss values, averaged over the chunks of the batch.
        outputs: The network's detached output for every chunk.
        grad_norm: Norm of all gradients before clipping.
        stepped: False when the host knows that the step was left out.
    """

    parts: dict[str, Tensor]
    outputs: list[Any]
    grad_norm: Tensor
    stepped: bool = True


@dataclass
class TrainStep:
    """Runs steps of one optimizer.

    Attributes:
        net: The network, wrapped for distribution or not.
        optimizer: Moves its parameters.
        precision: Number format of the forward pass.
        scaler: fp16's gradient scaler.
        guard: Decides about losses and gradients that are not finite.
        accum_iter: In how many chunks the batch is computed.
        grad_clip: Largest gradient norm; 0 is off.
        last_norm: Gradient norm of the last step, on the device.
    """

    net: nn.Module
    optimizer: Optimizer
    precision: Precision = field(default_factory=Precision)
    scaler: torch.amp.GradScaler | None = None
    guard: NonFiniteGuard = field(default_factory=NonFiniteGuard)
    accum_iter: int = 1
    grad_clip: float = 0.0
    last_norm: Tensor | None = None

    def run(
        self, batch: Mapping[str, Any], forward: Forward, losses: Losses, iteration: int, names: Sequence[str] = ()
    ) -> StepResult:
        """Make one step.

        Args:
            batch: What the two functions need; tensors and lists of the batch's length are split into chunks.
            forward: Chunk to network output, run under autocast.
            losses: (output in fp32, chunk) to (the mean loss of the chunk, its parts).
            iteration: The number of the step, for messages.
            names: The files of the batch, for messages.

        Raises:
            NonFiniteError: See :mod:`basicsr.engine.nonfinite`.
        """
        kept = _float_buffers(self.net)
        self.optimizer.zero_grad(set_to_none=True)
        parts, outputs, total = self._backward(batch, forward, losses, iteration)
        record = self._finish_gradients(iteration, names, parts, total)
        stepped = self._step(record)
        _restore_buffers(kept, record.loss_bad, stepped)
        self.last_norm = record.norm
        return StepResult(parts, outputs, record.norm, stepped)

    def _backward(
        self, batch: Mapping[str, Any], forward: Forward, losses: Losses, iteration: int
    ) -> tuple[dict[str, Tensor], list[Any], Tensor]:
        """Add up the gradients of all chunks; every sample weighs the same."""
        chunks = split_batch(batch, self.accum_iter)
        whole = sum(size for size, _ in chunks)
        parts: dict[str, Tensor] = {}
        outputs, total = [], None
        for index, (size, chunk) in enumerate(chunks):
            with self._synchronised(last=index == len(chunks) - 1):
                with self.precision.autocast():
                    raw = forward(chunk)
                output = to_fp32(raw)
                loss, values = losses(output, chunk)
                if not loss.requires_grad:
                    raise UserError(
                        f"iteration {iteration}: nothing to learn from: no loss counts now (start_iter, end_iter), or "
                        "no parameter of the network is trainable"
                    )
                weighted = loss * (size / whole) if len(chunks) > 1 else loss
                (self.scaler.scale(weighted) if self.scaler else weighted).backward()
            total = weighted.detach() if total is None else total + weighted.detach()
            _add_parts(parts, values, size / whole)
            outputs.append(map_tensors(output, Tensor.detach))
        if total is None:
            raise UserError("the batch is empty: datasets.train gives no samples")
        return parts, outputs, total

    def _synchronised(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients travel between processes once a step, with the last chunk."""
        if last or not isinstance(self.net, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.net.no_sync()

    def _finish_gradients(
        self, iteration: int, names: Sequence[str], parts: Mapping[str, Tensor], total: Tensor
    ) -> StepRecord:
        """Unscale, measure and clip the gradients, and see whether all is finite, on the device."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = grad_norm(parameters, self.grad_clip)
        finite = torch.stack([torch.isfinite(value.to(total.device)).reshape(()) for value in (total, norm)])
        flags = own = ~finite
        if distributed.get_world_size() > 1:  # all processes must decide alike
            shared = flags.to(torch.int32)
            dist.all_reduce(shared, op=dist.ReduceOp.MAX)
            flags = shared.bool()
        return StepRecord(iteration, names, parts, norm, flags[0], flags[1], own[0])

    def _step(self, record: StepRecord) -> bool:
        """Move the weights unless the step is bad; returns False when the host knows that they did not move."""
        if record.norm.device.type == "cuda" and skips_on_device(self.optimizer):
            if self.scaler is not None:
                self.scaler.step(self.optimizer)  # the fused step gets the overflow flag on the device
                self.scaler.update()
            else:
                self._step_unless((record.loss_bad | record.grad_bad).float())
            self.guard.watch(record)
            return True
        bad = self.guard.check_now(record)
        if self.scaler is not None:
            if not bool(record.loss_bad):
                self.scaler.step(self.optimizer)
            self.scaler.update()
        elif not bad:
            self.optimizer.step()
        return not bad

    def _step_unless(self, bad: Tensor) -> None:
        """A fused step that does nothing where ``bad`` is 1: the way torch's GradScaler tells it."""
        optimizer: Any = self.optimizer
        optimizer.grad_scale, optimizer.found_inf = None, bad
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf


def grad_norm(parameters: Sequence[Tensor], clip: float = 0.0) -> Tensor:
    """The 2-norm of all gradients, which are scaled down in place to at most ``clip`` if that is positive.

    Args:
        parameters: Parameters that have gradients.
        clip: Largest norm; 0 leaves the gradients as they are.

    Returns:
        The norm before clipping, a scalar on the device.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    if clip > 0:
        return torch.nn.utils.clip_grad_norm_(parameters, clip)
    first = gradients[0].device
    norms = [norm.to(first) for norm in torch._foreach_norm(gradients)]
    return torch.linalg.vector_norm(torch.stack(norms))


def joined(outputs: Sequence[Any]) -> Any:
    """The outputs of a batch's chunks as one: tensors, or mappings of tensors, end to end."""
    if len(outputs) == 1:
        return outputs[0]
    if isinstance(outputs[0], Mapping):
        return {key: torch.cat([output[key] for output in outputs]) for key in outputs[0]}
    return torch.cat(list(outputs))


def options_of_step(train_opt: Mapping[str, Any], precision: Precision) -> list[str]:
    """The options that only :class:`TrainStep` applies, as far as they ask for something; for a warning."""
    found = [f"train.{key}" for key in ("accum_iter", "grad_clip") if (train_opt.get(key) or 0) not in (0, 1)]
    found += ["train.non_finite: skip"] if train_opt.get("non_finite") == "skip" else []
    return found + ([f"precision: {precision.name}"] if precision.dtype is not None else [])


def split_batch(batch: Mapping[str, Any], pieces: int) -> list[tuple[int, dict[str, Any]]]:
    """Split a batch along its first dimension into (size, chunk) pairs.

    Args:
        batch: Tensors, and lists as long as the batch, are split; anything else goes to every chunk.
        pieces: How many chunks; fewer when there are fewer samples.
    """
    size = next((len(value) for value in batch.values() if isinstance(value, Tensor) and value.dim() > 0), 0)
    if size == 0:
        return []
    pieces = max(1, min(pieces, size))
    if pieces == 1:
        return [(size, dict(batch))]
    edges = [round(index * size / pieces) for index in range(pieces + 1)]
    chunks = []
    for start, end in zip(edges, edges[1:], strict=False):
        chunks.append((end - start, {key: _cut(value, size, start, end) for key, value in batch.items()}))
    return chunks


def _cut(value: Any, size: int, start: int, end: int) -> Any:
    if isinstance(value, Tensor) and value.dim() > 0 and len(value) == size:
        return value[start:end]
    if isinstance(value, list | tuple) and len(value) == size:
        return value[start:end]
    return value


def _add_parts(parts: dict[str, Tensor], values: Mapping[str, Tensor], weight: float) -> None:
    for key, value in values.items():
        term = value.detach() * weight if weight != 1.0 else value.detach()
        parts[key] = parts[key] + term if key in parts else term


def _float_buffers(net: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Running statistics and a copy of them: the forward pass of a bad batch spoils them before anyone can look."""
    with torch.no_grad():
        return [(buffer, buffer.clone()) for buffer in net.buffers() if buffer.is_floating_point()]


def _restore_buffers(kept: list[tuple[Tensor, Tensor]], bad: Tensor, stepped: bool) -> None:
    if not kept or (stepped and bad.device.type != "cuda"):
        return
    with torch.no_grad():
        for buffer, old in kept:
            buffer.copy_(torch.where(bad.to(buffer.device), old, buffer))
