"""What every model shares: device, wrapping, optimizers, schedules, weights and training states, best metrics."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from basicsr.engine import distributed, layout
from basicsr.engine.best_metrics import BestMetrics
from basicsr.engine.checkpoint import save_state, save_weights
from basicsr.engine.device import resolve_device
from basicsr.engine.ema import update_ema
from basicsr.engine.errors import UserError
from basicsr.engine.network_io import fit, read_state_dict, strip_prefixes
from basicsr.engine.optim import build_optimizer
from basicsr.engine.precision import Precision
from basicsr.models.lr_scheduler import ReduceLROnPlateau, build_scheduler
from basicsr.utils.dist_util import master_only

logger = logging.getLogger("basicsr")

BEST = "best"


class BaseModel:
    """Base of all models; a subclass brings networks, losses and validation.

    Args:
        opt: The run's options. Not modified by this class.

    Attributes:
        opt: The options.
        device: Where the networks are.
        is_train: Whether this is a training run.
        optimizers: All optimizers, in the order of the training state.
        schedulers: One schedule per optimizer.
        log_dict: Loss values of the last step, on the device.
        precision: Number format of the forward pass.
        scaler: fp16's gradient scaler, or None.
        channels_last: Memory layout: true, false, or ``auto`` until the probe has decided.
        run_state: Gives what the training loop adds to a training state; set by the loop.
        stop_asked: Gives the signal that asks for the end of the run, or 0; set by the loop.
    """

    net_g: nn.Module
    net_g_ema: nn.Module

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.device = resolve_device(opt)
        self.is_train: bool = opt["is_train"]
        self.schedulers: list[LRScheduler] = []
        self.optimizers: list[Optimizer] = []
        self.log_dict: dict[str, Any] = OrderedDict()
        self.precision = Precision(opt.get("precision") or "fp32", self.device.type)
        self.scaler = self.precision.make_scaler() if self.is_train else None
        self.channels_last = layout.check_setting(opt.get("channels_last") or False)
        self.run_state: Callable[[], Mapping[str, Any]] | None = None
        self.stop_asked: Callable[[], int] = lambda: 0
        self._best = BestMetrics(opt)

    # What a subclass provides

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch."""

    def optimize_parameters(self, current_iter: int) -> None:
        """Make one optimizer step."""

    def get_current_visuals(self) -> Any:
        """The images of the last forward pass, on the CPU."""

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the networks and, unless ``current_iter`` is -1 (``latest``), the training state."""

    def save_best(self, epoch: int, current_iter: int) -> None:
        """Write the networks as ``best``."""

    def dist_validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on one set, every process a share of it."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on one set."""

    def tb_scalars(self) -> dict[str, float]:
        """Further values for TensorBoard; read when the losses are logged."""
        return {}

    # Validation

    def validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool = False) -> None:
        """Validate on one set; every process calls this.

        Args:
            dataloader: The whole set.
            current_iter: The iteration; in testing, the run's name.
            tb_logger: TensorBoard's writer, or None.
            save_img: Whether to write the outputs.

        Raises:
            BrokenOff: A signal asked for the end of the run (see ``basicsr.engine.interrupt``).
        """
        if self.opt.get("dist"):
            self.dist_validation(dataloader, current_iter, tb_logger, save_img)
        else:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    @property
    def best_metric_results(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Set, then metric, to ``{'better', 'val', 'iter'}``."""
        return self._best.results

    @best_metric_results.setter
    def best_metric_results(self, results: dict[str, dict[str, dict[str, Any]]]) -> None:
        self._best.results = results

    @property
    def best_checkpoint_due(self) -> bool:
        """Whether the watched metric improved since ``save_best``."""
        return self._best.improved

    def best_iteration(self) -> int | None:
        """When the watched metric was best; None before the first validation."""
        return self._best.iteration()

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        self._best.begin(dataset_name)

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: int) -> None:
        self._best.update(dataset_name, metric, val, current_iter)

    def inform_schedulers(self, dataset_name: str, results: Mapping[str, float]) -> None:
        """Let the schedules that follow a metric see the figures of one set.

        Args:
            dataset_name: The set.
            results: Metric label to figure, the same on every process.
        """
        for scheduler in self.schedulers:
            if not isinstance(scheduler, ReduceLROnPlateau):
                continue
            watched = self._best.find(scheduler.metric) if scheduler.metric else self._best.watched()
            if watched is not None and watched[0] == dataset_name:
                better = self.best_metric_results[dataset_name][watched[1]]["better"]
                if scheduler.observe(results[watched[1]], better):
                    logger.info("%s/%s no longer improves: the learning rate is reduced.", *watched)

    # Networks

    def model_ema(self, decay: float = 0.999) -> None:
        """Move ``net_g_ema`` towards ``net_g``, parameters and buffers; ``decay`` 0 copies."""
        update_ema(self.net_g_ema, self.get_bare_model(self.net_g), decay)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Put a network on the device, compile it if wanted, and wrap it for distribution."""
        net = net.to(self.device)
        if self.channels_last is True:
            layout.convert(net, True)
        if self.opt.get("compile") and self.is_train:
            net.compile()  # in place: the keys of the state dict stay as they are
        if self.opt.get("dist"):
            return self._distribute(net)
        if isinstance(self.opt.get("num_gpu"), int) and self.opt["num_gpu"] > 1:
            logger.warning(
                "num_gpu: %d, but this is one process, which uses one GPU (%s). For several: torchrun "
                "--nproc_per_node=%d BasicSR/basicsr/train.py -opt ... --launcher pytorch",
                self.opt["num_gpu"],
                self.device,
                self.opt["num_gpu"],
            )
        return net

    def _distribute(self, net: nn.Module) -> nn.Module:
        if distributed.get_world_size() == 1 or not any(p.requires_grad for p in net.parameters()):
            return net
        devices = [self.device.index] if self.device.type == "cuda" else None
        unused = bool(self.opt.get("find_unused_parameters", False))
        return DistributedDataParallel(net, device_ids=devices, find_unused_parameters=unused)

    def set_channels_last(self, net: nn.Module, channels_last: bool) -> nn.Module:
        """Lay out a network that may be wrapped already; use the returned network in its place."""
        self.channels_last = channels_last
        bare = self.get_bare_model(net)
        layout.convert(bare, channels_last)
        # The wrapper's gradient buckets are laid out like the parameters were.
        return self._distribute(bare) if bare is not net else net

    def get_bare_model(self, net: nn.Module) -> nn.Module:
        """The network without its wrapper."""
        return net.module if isinstance(net, DataParallel | DistributedDataParallel) else net

    @master_only
    def print_network(self, net: nn.Module) -> None:
        """Log a network's class, size and structure."""
        bare = self.get_bare_model(net)
        name = type(bare).__name__ if bare is net else f"{type(net).__name__} - {type(bare).__name__}"
        logger.info("Network: %s, with parameters: %s", name, f"{sum(p.numel() for p in bare.parameters()):,d}")
        logger.info("%s", bare, extra={"file_only": True})

    # Optimizers and schedules

    def get_optimizer(self, optim_type: str, params: Iterable[Any], lr: float, **kwargs: Any) -> Optimizer:
        """Build an optimizer; see :func:`basicsr.engine.optim.build_optimizer`."""
        return build_optimizer(optim_type, params, lr, **kwargs)

    def setup_schedulers(self) -> None:
        """Give every optimizer its schedule, as ``train.scheduler`` says."""
        options = dict(self.opt["train"]["scheduler"])
        kind = options.pop("type")
        span = {"total_iter": self.opt["train"].get("total_iter"), **options}
        self.schedulers.extend(build_scheduler(kind, optimizer, **span) for optimizer in self.optimizers)

    def _set_lr(self, lr_groups_l: list[list[float]]) -> None:
        for optimizer, rates in zip(self.optimizers, lr_groups_l, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def _get_init_lr(self) -> list[list[float]]:
        return [[group["initial_lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rate of an iteration.

        Args:
            current_iter: The iteration, from 1.
            warmup_iter: Below it the initial rate rises in a straight line from 0; -1 for no warm-up.
        """
        if current_iter > 1:
            for scheduler in self.schedulers:
                scheduler.step()
        if current_iter < warmup_iter:
            share = current_iter / warmup_iter
            self._set_lr([[rate * share for rate in rates] for rates in self._get_init_lr()])

    def get_current_learning_rate(self) -> list[float]:
        """The learning rate of every parameter group of the first optimizer."""
        return [group["lr"] for group in self.optimizers[0].param_groups]

    # The log

    def reduce_loss_dict(self, loss_dict: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Keep loss values for the log, where they are: nothing waits for the device or for another process.

        Args:
            loss_dict: Name to value.

        Returns:
            Name to detached mean; averaged over processes when logged (:meth:`get_current_log`).
        """
        return OrderedDict((name, value.detach().mean()) for name, value in loss_dict.items())

    def get_current_log(self) -> OrderedDict[str, float]:
        """The values of the last step as numbers, averaged over processes; every process calls this."""
        values = {
            name: value if isinstance(value, Tensor) else torch.tensor(float(value), device=self.device)
            for name, value in self.log_dict.items()
        }
        reduced = distributed.reduce_mean_dict({name: value.detach().float().mean() for name, value in values.items()})
        if not reduced:
            return OrderedDict()
        numbers = torch.stack(list(reduced.values())).tolist()  # one transfer for all of them
        return OrderedDict(zip(reduced, numbers, strict=True))

    # Files

    @master_only
    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int | str,
        param_key: str | list[str] = "params",
        file_name: str | None = None,
    ) -> None:
        """Write ``<net_label>_<iteration>.pth``, atomically, with :meth:`checkpoint_record`.

        Args:
            net: One network, or several for one file.
            net_label: Such as ``net_g``.
            current_iter: The iteration; -1 is ``latest``; a word stands for itself.
            param_key: The section of each network in the file.
            file_name: Another name for the file.

        Raises:
            UserError: The file cannot be written.
            ValueError: Not one key per network.
        """
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        if len(nets) != len(keys):
            raise ValueError(f"save_network: {len(nets)} networks but {len(keys)} values of param_key")
        name = "latest" if current_iter == -1 else current_iter
        sections = {key: strip_prefixes(self.get_bare_model(n).state_dict()) for key, n in zip(keys, nets, strict=True)}
        path = Path(self.opt["path"]["models"]) / (file_name or f"{net_label}_{name}.pth")
        save_weights(path, sections, self.checkpoint_record())

    def checkpoint_record(self) -> Mapping[str, Any] | None:
        """Plain data for every weights file: what the network was trained on, what its outputs mean. None for none."""
        return None

    def load_network(
        self, net: nn.Module, load_path: str | Path, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights into a network.

        Args:
            net: The network, wrapped or not.
            load_path: A ``.pth`` or ``.safetensors`` file.
            strict: Whether everything must fit; otherwise what does not is left out with a warning.
            param_key: Section of the file, ``params`` where it is missing; None for a bare state dict.

        Raises:
            UserError: Missing or damaged file, no such section, or a strict load that does not fit.
        """
        bare = self.get_bare_model(net)
        state, section = read_state_dict(load_path, param_key)
        logger.info("Loading %s from %s, with param key: [%s].", type(bare).__name__, load_path, section)
        fit(bare, state, str(load_path), strict)

    def load_pretrained(self, net: nn.Module, label: str, param_key: str | None = None) -> bool:
        """Load ``path.pretrain_network_<label>`` into a network, if it is set.

        Args:
            net: The network.
            label: Such as ``g``.
            param_key: Section to read in place of the one that the options name.

        Returns:
            Whether there was a file.
        """
        path = self.opt["path"]
        source = path.get(f"pretrain_network_{label}")
        if source is None:
            return False
        if param_key is None:
            param_key = path.get("param_key") or path.get(f"param_key_{label}", "params")
        self.load_network(net, source, path.get(f"strict_load_{label}", True), param_key)
        return True

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write ``<iteration>.state``: all that resuming needs beside the networks. Nothing for ``latest`` (-1)."""
        if current_iter == -1:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "best": self.best_metric_results,
            "channels_last": None if self.channels_last == "auto" else self.channels_last,
            "world_size": distributed.get_world_size(),
            "run": dict(self.run_state()) if self.run_state is not None else {},
        }
        save_state(Path(self.opt["path"]["training_states"]) / f"{current_iter}.state", state)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Put optimizers, schedules, scaler and best metrics back to a saved state.

        Args:
            resume_state: What :meth:`save_training_state` wrote.

        Raises:
            UserError: It was saved by a model with other optimizers or schedules.
        """
        for kind, mine in (("optimizers", self.optimizers), ("schedulers", self.schedulers)):
            saved = resume_state[kind]
            if len(saved) != len(mine):
                raise UserError(
                    f"the training state of iteration {resume_state.get('iter')} holds {len(saved)} {kind}, this model "
                    f"has {len(mine)}: resume with the options it was saved with, or start from its weights "
                    "(path.pretrain_network_g)"
                )
            for one, state in zip(mine, saved, strict=True):
                _load_one(one, state, kind, resume_state.get("iter"))
        if self.scaler is not None and resume_state.get("scaler"):
            self.scaler.load_state_dict(resume_state["scaler"])
        if resume_state.get("best"):
            self.best_metric_results = resume_state["best"]


def _load_one(target: Any, state: dict[str, Any], kind: str, iteration: Any) -> None:
    try:
        target.load_state_dict(state)
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"the {kind} of the training state of iteration {iteration} do not fit this run ({error}); resume with the "
            "options it was saved with"
        ) from error
