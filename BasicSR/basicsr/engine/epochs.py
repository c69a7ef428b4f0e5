"""Options in epochs: they become iterations once the size of the training set is known."""

from __future__ import annotations

from typing import Any

# (section, key in epochs, key in iterations)
EPOCH_KEYS = (
    ("train", "total_epoch", "total_iter"),
    ("train", "warmup_epoch", "warmup_iter"),
    ("val", "val_epoch", "val_freq"),
    ("logger", "save_checkpoint_epoch", "save_checkpoint_freq"),
)


def resolve_epochs(opt: dict[str, Any], epoch_len: int, global_batch: int) -> list[str]:
    """Set the options that count iterations from those that count epochs.

    Args:
        opt: The run's options, changed in place: what follows reads iterations only.
        epoch_len: Training samples of one epoch.
        global_batch: Samples of one iteration, over all processes.

    Returns:
        One line for the log for each option that was set, such as ``train.total_epoch 30 = 1500 iterations``. A number
        of iterations is the nearest whole one, at least 1: a batch may hold the end of one epoch and the start of the
        next.
    """
    lines = []
    for section, in_epochs, in_iterations in EPOCH_KEYS:
        epochs = (opt.get(section) or {}).get(in_epochs)
        if epochs is None:
            continue
        iterations = max(1, round(float(epochs) * epoch_len / global_batch))
        opt[section][in_iterations] = iterations
        lines.append(f"{section}.{in_epochs} {epochs:g} = {iterations} iterations")
    return lines
