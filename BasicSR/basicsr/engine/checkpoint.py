"""Files that must survive a power cut: weights (``.pth``, ``.safetensors``) and training states (``.state``).

A checkpoint of iteration N is ``models/net_<label>_N.pth`` for every network, and then, last,
``training_states/N.state``. Each is written to a temporary file, flushed to the disk and renamed, so a file under its
final name is whole, and a state on the disk means that its weights are too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from basicsr.engine.errors import UserError
from basicsr.engine.foreign_files import numpy_numbers, upstream_state_message

STATE_VERSION = 1
_TEMPORARY = ".tmp-write"
_WEIGHTS, _STATE = "weights file", "training state"
_WAY_OUT = {
    _WEIGHTS: "Save it again with tensors only (torch.save({'params': net.state_dict()}, ...)).",
    _STATE: "If another program wrote it, start from its weights instead: path.pretrain_network_g.",
}
_LOAD_ERRORS = (RuntimeError, EOFError, OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile)
_STATE_NAME = re.compile(r"(\d+)\.state")
_WEIGHTS_NAME = re.compile(r"net_\w+_(\d+)\.(?:pth|safetensors)")


def write_atomic(path: str | Path, writer: Callable[[Any], object]) -> None:
    """Write a file so that it is, at any moment, either the old one, or the new one, whole.

    Args:
        path: The final name; missing folders are made.
        writer: Gets the open temporary file.

    Raises:
        UserError: The disk refused (full, read-only, ...); the temporary file is removed, an old file is untouched.
    """
    path = Path(path)
    # The end of a long name is dropped: a name may have 255 bytes, and the final one may need them all.
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}{_TEMPORARY}")
    refusals: list[OSError] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _RememberingFile(temporary, refusals) as file:
            writer(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = error if isinstance(error, OSError) else refusals[0] if refusals else None
        if reason is None:
            raise
        message = f"cannot write {path}: {reason}. Make room on that disk, or choose another folder to write to."
        raise UserError(message) from error


class _RememberingFile(io.FileIO):
    """A file that notes why a write failed: ``torch.save`` turns a full disk into a RuntimeError without the reason."""

    def __init__(self, path: Path, refusals: list[OSError]) -> None:
        super().__init__(path, "wb")
        self._refusals = refusals

    def write(self, data: Any) -> int:
        """Write all of ``data``."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self._refusals.append(error)
            raise
        return done


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Systems that cannot open a folder (Windows) keep their own promise."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(*folders: str | Path) -> list[Path]:
    """Delete the temporary files that a killed write left behind.

    Returns:
        The deleted files.
    """
    found = [path for folder in folders for path in sorted(Path(folder).glob(f".*{_TEMPORARY}"))]
    for path in found:
        path.unlink(missing_ok=True)
    return found


RECORD = "record"
"""Section of a weights file with plain data about the network, beside its tensors."""


def save_weights(
    path: str | Path,
    sections: Mapping[str, Mapping[str, torch.Tensor]],
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write network weights.

    Args:
        path: ``.safetensors`` writes that format, any other suffix torch's own.
        sections: ``{'params': state_dict}``, with EMA also ``'params_ema'``. Tensors are written as CPU tensors.
        record: What the network was trained on and what its outputs mean, as plain lists, mappings, numbers and
            strings; :func:`load_weights` gives it under ``record``.
    """
    on_cpu = {name: {key: value.detach().cpu() for key, value in state.items()} for name, state in sections.items()}
    if Path(path).suffix != ".safetensors":
        content = on_cpu if record is None else {**on_cpu, RECORD: dict(record)}
        write_atomic(path, lambda file: torch.save(content, file))
        return
    from safetensors.torch import save

    flat = {f"{name}.{key}": value.contiguous().clone() for name, sd in on_cpu.items() for key, value in sd.items()}
    notes = {} if record is None else {"basicsr_record": json.dumps(record)}
    data = save(flat, metadata={"format": "pt", "basicsr_sections": ",".join(on_cpu), **notes})
    write_atomic(path, lambda file: file.write(data))


def load_weights(path: str | Path) -> dict[str, Any]:
    """Read network weights onto the CPU, without ever unpickling foreign objects.

    Returns:
        What the file holds: usually ``{'params': state_dict, 'params_ema': state_dict}``, or a bare state dict.

    Raises:
        UserError: The file is missing, damaged, or is no weights file; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    loaded = _torch_load(path, _WEIGHTS)
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: not a weights file: it holds a {type(loaded).__name__}, expected a dict of tensors")
    return loaded


def _torch_load(path: Path, kind: str) -> Any:
    try:
        with numpy_numbers():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own text advises to switch the protection off.
        raise UserError(
            f"{path}: damaged, or it holds Python objects beside tensors, which are not loaded because loading them "
            f"could run any code. {_WAY_OUT[kind]}"
        ) from error
    except _LOAD_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged {kind} ({reason})") from error


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            notes = file.metadata() or {}
            names = notes.get("basicsr_sections", "")
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged weights file ({error})") from error
    if not names:
        return tensors
    sections: dict[str, Any] = {
        name: {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
        for name in names.split(",")
    }
    if "basicsr_record" in notes:
        sections[RECORD] = json.loads(notes["basicsr_record"])
    return sections


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a training state; the format's version is added."""
    complete = {"version": STATE_VERSION, **state}
    write_atomic(path, lambda file: torch.save(complete, file))


def load_state(path: str | Path) -> dict[str, Any]:
    """Read a training state onto the CPU.

    Raises:
        UserError: Missing, damaged, written by upstream BasicSR, or by a newer engine.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such training state")
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"  # as all of ours are; torch before 1.6 wrote a bare pickle
    if packed:
        _check_bytes(path)
    state = _torch_load(path, _STATE)
    if not isinstance(state, dict) or "iter" not in state:
        weights = isinstance(state, dict) and "params" in state
        advice = ": it holds weights, which path.pretrain_network_g takes" if weights else ""
        raise UserError(f"{path}: not a training state{advice}")
    if "version" not in state:
        raise UpstreamStateError(upstream_state_message(path, state))
    if state["version"] > STATE_VERSION:
        raise UserError(f"{path}: state version {state['version']}, this engine reads up to {STATE_VERSION}; update it")
    return state


class UpstreamStateError(UserError):
    """The state was written by upstream BasicSR: whole, but not resumable."""


def _check_bytes(path: Path) -> None:
    """Compare the check sums inside the file, which torch.load does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: damaged or cut short ({error})") from error
    if bad is not None:
        raise UserError(f"{path}: damaged: wrong check sum in its record {bad}")


def states_in(folder: str | Path) -> dict[int, Path]:
    """Returns: Iteration to state file, newest first."""
    found = {}
    for path in Path(folder).glob("*.state"):
        match = _STATE_NAME.fullmatch(path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items(), reverse=True))


def weight_files(models: str | Path, iteration: int, labels: Iterable[str]) -> list[Path]:
    """Returns: The weight files that a state of this iteration needs."""
    return [Path(models) / f"net_{label}_{iteration}.pth" for label in labels]


def newest_state(
    states: str | Path,
    models: str | Path | None = None,
    labels: Iterable[str] = ("g",),
    report: Callable[[str], object] | None = None,
) -> Path | None:
    """Find the newest state that can be resumed: it loads, and so do its weights.

    Args:
        states: The folder ``training_states``.
        models: The folder ``models``; ``None`` leaves the weights unchecked.
        labels: The networks whose weights are needed, ``g`` for ``network_g``.
        report: Gets one message for every checkpoint passed over.

    Returns:
        The state, or ``None`` if the folder holds none at all.

    Raises:
        UserError: There are states, but none is usable.
    """
    labels = list(labels)
    damage = []
    for iteration, path in states_in(states).items():
        try:
            load_state(path)
            for weights in weight_files(models, iteration, labels) if models is not None else []:
                load_weights(weights)
                _check_bytes(weights)
        except UpstreamStateError:
            raise
        except UserError as error:
            damage.append(str(error))
            if report is not None:
                report(f"Checkpoint {iteration} is passed over: {error}")
            continue
        return path
    if damage:
        raise UserError(
            f"{states}: no checkpoint is usable:\n  " + "\n  ".join(damage) + "\nRestore one of these files, or start "
            "anew without --auto_resume (the folder is then renamed, not deleted)."
        )
    return None


def prune(
    models: str | Path,
    states: str | Path,
    keep_last: int | None,
    keep: Iterable[int] = (),
    upto: int | None = None,
) -> list[Path]:
    """Delete old checkpoints; ``latest`` and ``best`` are never touched.

    Args:
        models: The folder ``models``.
        states: The folder ``training_states``.
        keep_last: How many of the newest stay; ``None`` keeps all.
        keep: Iterations that stay in any case.
        upto: Later iterations (of a run that was resumed from an older state) are neither counted nor deleted.

    Returns:
        The deleted files.
    """
    if keep_last is None:
        return []
    weights: dict[int, list[Path]] = {}
    for path in Path(models).glob("net_*"):
        match = _WEIGHTS_NAME.fullmatch(path.name)
        if match:
            weights.setdefault(int(match[1]), []).append(path)
    old_states = states_in(states)
    iterations = sorted(n for n in {*weights, *old_states} if upto is None or n <= upto)
    doomed = [n for n in iterations[: max(0, len(iterations) - keep_last)] if n not in set(keep)]
    # The state goes first: a state without weights would look like damage to the next start.
    files = [old_states[n] for n in doomed if n in old_states] + [path for n in doomed for path in weights.get(n, [])]
    for path in files:
        path.unlink(missing_ok=True)
    return files
