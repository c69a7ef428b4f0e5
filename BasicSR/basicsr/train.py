# ruff: noqa: E402 - run as a script, the search path has to be put right before the engine is imported
"""Train from an option file: ``python BasicSR/basicsr/train.py -opt options/x.yml`` (also under torchrun and srun)."""

from __future__ import annotations

import copy
import datetime
import sys
import time
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

_HERE = Path(__file__).resolve().parent
# The project: two levels above this package. An installed package has no project around it but the current folder.
ROOT = _HERE.parents[1] if _HERE.parent.name == "BasicSR" else Path.cwd()
if __name__ == "__main__":
    # As a script, this folder would be searched first and its data/, utils/ and test.py would hide top-level modules.
    sys.path[:] = [str(_HERE.parent), str(ROOT), *(p for p in sys.path if Path(p or ".").resolve() != _HERE)]
    from basicsr.engine.cli import quiet_start

    quiet_start()  # the imports below take seconds

from basicsr.engine import distributed
from basicsr.engine.checkpoint import prune
from basicsr.engine.epochs import resolve_epochs
from basicsr.engine.errors import UserError
from basicsr.engine.interrupt import BrokenOff, Interrupted, StopRequest
from basicsr.engine.progress import ProgressLine, TerminalHandler, wants_bar
from basicsr.engine.resume import LoopState, describe_start, find_resume_state
from basicsr.engine.run_setup import log_options, open_train_folder, run_log, seed_process, start_process
from basicsr.utils.logger import AvgTimer, MessageLogger, get_root_logger, init_tb_logger, init_wandb_logger
from basicsr.utils.options import parse_options


def init_tb_loggers(opt: dict[str, Any], start_iter: int = 0) -> Any:
    """Open TensorBoard (and Weights & Biases) if the options want it and this is rank 0.

    Args:
        opt: Reads ``name``, ``root_path``, ``logger.use_tb_logger`` and ``logger.wandb``.
        start_iter: What an interrupted run logged after this iteration is dropped from display.

    Returns:
        A SummaryWriter or None.

    Raises:
        UserError: wandb without TensorBoard, or a package is missing.
    """
    settings, debug = opt["logger"], "debug" in opt["name"]
    use_tb = settings.get("use_tb_logger", False)
    if (settings.get("wandb") or {}).get("project") and not debug:
        if not use_tb:
            raise UserError("logger.wandb follows the TensorBoard log: set logger.use_tb_logger: true")
        init_wandb_logger(opt)
    if not use_tb or debug:
        return None
    return init_tb_logger(str(Path(opt["root_path"]) / "tb_logger" / opt["name"]), purge_step=start_iter + 1)


def create_train_val_dataloader(
    opt: dict[str, Any], logger: Any, start_iter: int = 0
) -> tuple[Any, Any, list[Any], int, int]:
    """Build the endless stream of training batches and the validation loaders.

    Args:
        opt: The run's options; what they say in epochs is set in iterations too, in place.
        logger: Gets the sizes.
        start_iter: The stream begins with the batch of iteration ``start_iter + 1``.

    Returns:
        Train stream, the same stream in the place of upstream's sampler, validation loaders, epochs, iterations.

    Raises:
        UserError: A data set is neither ``train`` nor ``val...``, or there is no ``train``.
    """
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.data.train_stream import build_train_stream

    stream, val_loaders = None, []
    for name, dataset_opt in opt["datasets"].items():
        phase = name.split("_")[0]
        if phase not in ("train", "val"):
            raise UserError(f"datasets.{name}: a training run has 'train' and any number of 'val', 'val_...'")
        dataset = build_dataset(dataset_opt)
        size = len(cast(Sized, dataset))
        if phase == "train":
            stream = build_train_stream(dataset, dataset_opt, opt, opt["rank"], opt["world_size"], start_iter)
            logger.info(
                "Training data: %s images, %s per epoch; a batch is %d x %d process(es) x %d (accum_iter); "
                "%d iterations per epoch.",
                f"{size:,}",
                f"{stream.epoch_len:,}",
                dataset_opt["batch_size_per_gpu"],
                opt["world_size"],
                opt["train"].get("accum_iter") or 1,
                stream.iters_per_epoch,
            )
        else:
            loader = build_dataloader(
                dataset, dataset_opt, opt["num_gpu"], dist=opt["dist"], sampler=None, seed=opt["manual_seed"]
            )
            val_loaders.append(loader)
            logger.info("Validation data: %s images in %s.", f"{size:,}", dataset_opt["name"])
    if stream is None:
        raise UserError("datasets.train is missing: there is nothing to train on")
    for line in resolve_epochs(opt, stream.epoch_len, stream.global_batch):
        logger.info("%s.", line)
    total_iters = int(opt["train"]["total_iter"])
    return stream, stream, val_loaders, stream.epoch_at(total_iters) + 1, total_iters


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Find the state to continue from: ``--auto_resume`` or ``path.resume_state``.

    Args:
        opt: The run's options; those that the state decides are changed in place (see ``find_resume_state``).

    Returns:
        The state, or None for a new run.
    """
    return find_resume_state(opt)


@dataclass
class TrainingRun:
    """One run: what the loop below needs, and the things it does at certain iterations."""

    opt: dict[str, Any]
    model: Any
    stream: Any
    val_loaders: list[Any]
    tb_logger: Any
    start_iter: int
    loop_state: LoopState
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.total_iter = int(self.opt["train"]["total_iter"])
        self.warmup_iter = int(self.opt["train"].get("warmup_iter", -1))
        self.print_freq = int(self.opt["logger"]["print_freq"])
        self.save_freq = int(self.opt["logger"]["save_checkpoint_freq"])
        self.val_freq = int((self.opt.get("val") or {}).get("val_freq") or 0) if self.val_loaders else 0
        self.iter_timer, self.data_timer = AvgTimer(), AvgTimer()
        self.messages = MessageLogger(self.opt, self.start_iter + 1, self.tb_logger)
        self.bar = _attach_bar(self.opt, self.total_iter, self.start_iter)
        self.model.run_state = self.loop_state.snapshot

    def time_trained(self) -> datetime.timedelta:
        """Time in the loop, that before interruptions included."""
        seconds = self.loop_state.elapsed_before + time.monotonic() - self.started
        return datetime.timedelta(seconds=int(seconds))

    def due(self, freq: int, current_iter: int) -> bool:
        """Whether something done every ``freq`` iterations, and at the end, is to be done now; 0 is never."""
        return freq > 0 and (current_iter % freq == 0 or current_iter == self.total_iter)

    def next_batch(self, batches: Iterator[Any]) -> Any:
        self.data_timer.start()
        data = next(batches)
        self.data_timer.record()
        return data

    def log(self, current_iter: int) -> None:
        """Every process takes part: the losses are averaged over them here, and only here leave the device."""
        losses = self.model.get_current_log()
        scalars = self.model.tb_scalars() if hasattr(self.model, "tb_scalars") else {}
        values: dict[str, Any] = {"epoch": self.stream.epoch_at(current_iter), "iter": current_iter}
        values["lrs"] = self.model.get_current_learning_rate()
        values["time"], values["data_time"] = self.iter_timer.get_avg_time(), self.data_timer.get_avg_time()
        self.messages({**values, **losses})
        if self.tb_logger is not None:
            for tag, value in scalars.items():
                self.tb_logger.add_scalar(tag, value, current_iter)
        if self.bar is not None:
            self.bar.note("  ".join(f"{name} {value:.3e}" for name, value in losses.items()))

    def save(self, current_iter: int, validated: bool = False) -> None:
        """Write the networks and then the state, and drop checkpoints beyond ``keep_last``."""
        get_root_logger().info("Saving models and training states.")
        self.loop_state.take(time.monotonic() - self.started, validated)
        self.model.save(self.stream.epoch_at(current_iter), current_iter)
        if distributed.is_main():
            path, keep_last = self.opt["path"], self.opt["logger"].get("keep_last")
            prune(path["models"], path["training_states"], keep_last, upto=current_iter)

    def validate(self, current_iter: int) -> None:
        """Every set, on every process; the best weights so far are kept as ``best``.

        A signal ends it between two images. Nothing of it is kept then: the resumed run validates all sets anew.
        """
        save_img = self.opt["val"].get("save_img", False)
        best = copy.deepcopy(getattr(self.model, "best_metric_results", None))
        try:
            for loader in self.val_loaders:
                self.model.validation(loader, current_iter, self.tb_logger, save_img)
        except BrokenOff as broken:
            self.model.best_metric_results = best
            self.stop(current_iter, 128 + broken.signum, validated=False)
        if getattr(self.model, "best_checkpoint_due", False):
            self.model.save_best(self.stream.epoch_at(current_iter), current_iter)

    def exhausted(self, current_iter: int) -> bool:
        """Whether ``val.early_stop`` validations in a row brought nothing as good; the same on every process."""
        patience = (self.opt.get("val") or {}).get("early_stop")
        if not patience or not self.due(self.val_freq, current_iter):
            return False
        best = self.model.best_iteration()
        if best is None or current_iter - best < patience * self.val_freq:
            return False
        get_root_logger().info("No better validation since iteration %d: the run ends early.", best)
        return True

    def stop(self, current_iter: int, status: int, validated: bool) -> None:
        """Save, noting whether a validation of this iteration is done, and leave with the signal's exit status."""
        self.save(current_iter, validated)
        get_root_logger().warning(
            "Stopped by a signal after iteration %d, its state is saved. To go on, add --auto_resume.",
            current_iter,
        )
        raise Interrupted(status)


def _attach_bar(opt: dict[str, Any], total: int, start: int) -> ProgressLine | None:
    choice = opt["logger"].get("progress") or "auto"
    if not distributed.is_main() or not wants_bar(choice):
        return None
    bar = ProgressLine(total, start)
    for handler in get_root_logger().handlers:
        if isinstance(handler, TerminalHandler):
            handler.progress = bar
    return bar


def _detach_bar(run: TrainingRun) -> None:
    if run.bar is not None:
        run.bar.close()
    for handler in get_root_logger().handlers:
        if isinstance(handler, TerminalHandler):
            handler.progress = None


def train(run: TrainingRun) -> None:
    """The training loop: ``total_iter`` optimizer steps, less those done before; fewer with ``val.early_stop``."""
    model, current_iter = run.model, run.start_iter
    with StopRequest() as stop:
        batches = iter(run.stream)
        run.loop_state.restore_generators()
        model.stop_asked = stop.asked
        stop.arm()
        if current_iter > 0 and run.due(run.val_freq, current_iter) and not run.loop_state.validated:
            run.validate(current_iter)  # a state is saved before its iteration's validation
        run.messages.reset_start_time()
        while current_iter < run.total_iter:
            current_iter += 1
            run.iter_timer.start()
            data = run.next_batch(batches)
            model.update_learning_rate(current_iter, warmup_iter=run.warmup_iter)
            model.feed_data(data)
            model.optimize_parameters(current_iter)
            run.iter_timer.record()
            if run.bar is not None:
                run.bar.update(current_iter, run.iter_timer.get_avg_time(), run.data_timer.get_avg_time())
            if run.print_freq > 0 and current_iter % run.print_freq == 0:
                run.log(current_iter)
            if run.due(run.save_freq, current_iter):
                run.save(current_iter)
            if run.due(run.val_freq, current_iter):
                run.validate(current_iter)
            if stop.agreed():
                run.stop(current_iter, stop.status, validated=run.due(run.val_freq, current_iter))
            if run.exhausted(current_iter):
                break


def train_pipeline(root_path: str | Path) -> None:
    """Read the command line and train.

    Args:
        root_path: The project's folder: ``experiments/`` and ``tb_logger/`` are made in it, relative paths start there.

    Raises:
        UserError: Something in the options, the data or the weights that the user can put right.
        NonFiniteError: A loss or gradient became NaN or infinite (``train.non_finite: stop``).
        Interrupted: SIGTERM or Ctrl-C; the state is saved, the exit status is 143 or 130.
    """
    with run_log() as log:
        opt, args = parse_options(root_path, is_train=True)
        from basicsr.models import build_model  # after the options: a mistake in them shows without waiting for imports

        start_process(opt, root_path)
        resume_state = load_resume_state(opt)
        start_iter = resume_state["iter"] if resume_state else 0
        seed_process(opt)
        # Options, data and weights are read before a folder is made or renamed: a mistake in them costs nothing, and a
        # run may start from weights in the folder that it is going to replace.
        data = create_train_val_dataloader(opt, get_root_logger(), start_iter)
        stream, val_loaders, total_epochs, total_iters = data[0], data[2], data[3], data[4]
        log_options(opt)
        describe_start(opt, resume_state)
        model = build_model(opt)
        if resume_state:
            model.resume_training(resume_state)
        lock = open_train_folder(opt, args, log)
        tb_logger = init_tb_loggers(opt, start_iter)
        loop_state = LoopState(opt, resume_state)
        run = TrainingRun(opt, model, stream, val_loaders, tb_logger, start_iter, loop_state)
        get_root_logger().info("Training from iteration %d to %d (%d epochs).", start_iter, total_iters, total_epochs)
        try:
            train(run)
            get_root_logger().info("End of training. Time trained: %s. Saving the latest models.", run.time_trained())
            model.save(epoch=-1, current_iter=-1)
        finally:
            _detach_bar(run)
            stream.close()
            if tb_logger is not None:
                tb_logger.close()
            lock.release()
        distributed.barrier()
    distributed.shutdown()


def main() -> int:
    """The script: ``train_pipeline`` with the project around this package; returns the exit status."""
    from basicsr.engine.cli import run_main

    return run_main(lambda: train_pipeline(ROOT))


if __name__ == "__main__":
    sys.exit(main())
