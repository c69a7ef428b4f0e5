"""Finding the state to continue from, and what the loop itself puts into a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from basicsr.engine import distributed, rng
from basicsr.engine.checkpoint import load_state, newest_state, states_in
from basicsr.engine.errors import UserError
from basicsr.engine.resume_changes import changes, digest
from basicsr.utils.logger import get_root_logger
from basicsr.utils.misc import check_resume


def network_labels(opt: dict[str, Any]) -> list[str]:
    """Returns: ``g`` for ``network_g`` and so on, without those that ``path.ignore_resume_networks`` names."""
    ignored = opt["path"].get("ignore_resume_networks") or []
    labels = [key[len("network_") :] for key in opt if key.startswith("network_") and opt[key] is not None]
    return [label for label in labels if label not in ignored and f"network_{label}" not in ignored]


def find_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Find and read the state that this run continues from, and set the options that follow from it.

    Args:
        opt: Changed in place: ``path.resume_state``, the weights to load (see ``check_resume``), ``manual_seed`` and,
            if it was ``auto``, ``channels_last`` become what the interrupted run used.

    Returns:
        The state, or ``None`` for a new run.

    Raises:
        UserError: The wanted state is missing, damaged or upstream's; or none of the states found is usable.
    """
    path = _newest_path(opt) or _explicit_path(opt)
    if path is None:
        opt["path"]["resume_state"] = None
        return None
    state = load_state(path)
    opt["path"]["resume_state"] = str(path)
    check_resume(opt, state["iter"])
    run = state.get("run") or {}
    if "seed" in run and run["seed"] != opt["manual_seed"]:
        get_root_logger().info("Resuming: the run's seed %d is used again.", run["seed"])
        opt["manual_seed"] = run["seed"]
    if opt.get("channels_last") == "auto" and state.get("channels_last") is not None:
        opt["channels_last"] = state["channels_last"]
    later = [iteration for iteration in states_in(path.parent) if iteration > state["iter"]]
    if later:
        get_root_logger().warning(
            "There are states newer than the one resumed (up to iteration %d); they are overwritten one by one.",
            max(later),
        )
    return state


def _explicit_path(opt: dict[str, Any]) -> Path | None:
    wanted = opt["path"].get("resume_state")
    if not wanted:
        return None
    path = Path(wanted).expanduser()
    path = path if path.is_absolute() else Path(opt["root_path"]) / path
    if not path.is_file():
        raise UserError(f"path.resume_state: {path}: no such file; a run's states are <name>/training_states/*.state")
    return path


def _newest_path(opt: dict[str, Any]) -> Path | None:
    """The newest usable state of this experiment, the same on every rank; rank 0 looks."""
    if not opt.get("auto_resume"):
        return None
    found: tuple[Path | None, str | None] = (None, None)
    if distributed.is_main():
        try:
            found = (_search(opt), None)
        except UserError as error:
            found = (None, str(error))
    path, message = distributed.broadcast_object(found)
    if message is not None:
        raise UserError(message)
    return path


def _search(opt: dict[str, Any]) -> Path | None:
    states, models = opt["path"]["training_states"], opt["path"]["models"]
    return newest_state(states, models, network_labels(opt), report=get_root_logger().warning)


def describe_start(opt: dict[str, Any], state: dict[str, Any] | None) -> None:
    """Log which of the three kinds of start this is."""
    logger = get_root_logger()
    if state is not None:
        logger.info(
            "RESUMING this run after iteration %d (epoch %d) from %s: weights, EMA, optimizers, schedulers, random "
            "generators, data position and best metrics go on where they were.",
            state["iter"],
            state["epoch"],
            opt["path"]["resume_state"],
        )
        _describe_changes(opt, state)
        return
    if opt.get("auto_resume"):
        logger.info("--auto_resume: no checkpoint in %s yet.", opt["path"]["training_states"])
    weights = {key: value for key, value in opt["path"].items() if key.startswith("pretrain_network") and value}
    for key, value in weights.items():
        logger.info(
            "FINE-TUNING, a new run: path.%s = %s gives the initial weights; iteration count, optimizers and best "
            "metrics start afresh.",
            key,
            value,
        )
    if not weights:
        logger.info("NEW RUN from randomly initialised weights.")


def _describe_changes(opt: dict[str, Any], state: dict[str, Any]) -> None:
    """Warn of options that are not those of the interrupted run, and of a run that is complete already."""
    logger, total = get_root_logger(), int(opt["train"]["total_iter"])
    old = (state.get("run") or {}).get("options")
    different = changes(old, digest(opt)) if old else []
    if different:
        logger.warning(
            "These options are not those that the interrupted run had:\n  %s\nLearning rates, optimizers and schedules "
            "go on as they were saved, whatever the options say now. (To train with others, start a new run from the "
            "weights: path.pretrain_network_g.)",
            "\n  ".join(different),
        )
    if state["iter"] >= total:
        logger.warning(
            "Nothing is left to train: the state is of iteration %d, train.total_iter is %d.", state["iter"], total
        )


class LoopState:
    """What the loop adds to a training state: generators of every process, seed, and time trained."""

    def __init__(self, opt: dict[str, Any], resumed: dict[str, Any] | None) -> None:
        self._seed = opt["manual_seed"]
        self._options = digest(opt)
        self._resumed: dict[str, Any] = (resumed or {}).get("run") or {}
        self.elapsed_before: float = self._resumed.get("elapsed", 0.0)
        self.validated: bool = self._resumed.get("validated", False)
        self._snapshot: dict[str, Any] = {}

    def take(self, elapsed: float, validated: bool) -> None:
        """Collect the present state; to be called by every process, before the model saves.

        Args:
            elapsed: Seconds trained by this process.
            validated: Whether this iteration's validation has been done.
        """
        self._snapshot = {
            "seed": self._seed,
            "options": self._options,
            "rng": distributed.all_gather_object(rng.capture()),
            "elapsed": self.elapsed_before + elapsed,
            "validated": validated,
        }

    def snapshot(self) -> dict[str, Any]:
        """Returns: What :meth:`take` collected; this is the model's ``run_state``."""
        return self._snapshot

    def restore_generators(self) -> None:
        """Put this process's generators where the interrupted run's were; nothing for a new run."""
        states = self._resumed.get("rng")
        if not states:
            return
        if len(states) != distributed.get_world_size():
            get_root_logger().warning(
                "The run was saved by %d process(es) and goes on with %d: the random generators of the model (dropout) "
                "start from the seed. Data order and losses stay the same only if batch_size_per_gpu x processes does.",
                len(states),
                distributed.get_world_size(),
            )
            return
        rng.restore(states[distributed.get_rank()])
