"""The paired-image model: one network from an input image to a target image."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.engine import layout
from basicsr.engine.errors import UserError
from basicsr.engine.inference import full_precision, self_ensemble, tile_size, tiled
from basicsr.engine.loss_set import LossSchedule, LossSet, loss_entries, split_schedule, weighted_terms
from basicsr.engine.nonfinite import NonFiniteGuard
from basicsr.engine.train_step import TrainStep, joined, options_of_step
from basicsr.engine.validation import Validation
from basicsr.engine.validation_report import SetResult, log_text
from basicsr.losses import build_loss
from basicsr.models.base_model import BEST, BaseModel
from basicsr.utils.registry import MODEL_REGISTRY

logger = logging.getLogger("basicsr")

PIXEL, PERCEPTUAL = "pixel_opt", "perceptual_opt"
# Names of upstream's log for its two losses.
_UPSTREAM_NAMES = {PIXEL: "l_pix", f"{PERCEPTUAL}/percep": "l_percep", f"{PERCEPTUAL}/style": "l_style"}


@MODEL_REGISTRY.register()
class SRModel(BaseModel):
    """Image restoration with a pixel loss, a perceptual loss, and any other ``<name>_opt`` under ``train``.

    Args:
        opt: The run's options.

    Attributes:
        net_g: The network, wrapped for distribution.
        net_g_ema: Its moving average, where ``train.ema_decay`` is positive.
        cri_pix: The loss of ``pixel_opt``, or None.
        cri_perceptual: The loss of ``perceptual_opt``, or None.
        extra_losses: The other losses.
        lq: Input batch.
        gt: Target batch, where the data has one.
        output: The network's output for the batch.
    """

    # No value before the first validation: upstream's own validation code asks with hasattr.
    metric_results: dict[str, float]

    default_grad_clip: ClassVar[float] = 0.0
    """Gradient norm to clip to where the options say nothing; 0 is off."""
    default_save_gt: ClassVar[bool] = False
    """Whether validation writes the target beside the output where ``val.save_gt`` says nothing."""
    validation_type: ClassVar[type[Validation]] = Validation

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.cri_pix: nn.Module | None = None
        self.cri_perceptual: nn.Module | None = None
        self.extra_losses = LossSet({})
        self.loss_schedules: dict[str, LossSchedule] = {}
        self.ema_decay: float = 0
        self.batch_names: list[str] = []
        self._validation_notes: dict[str, str] = {}
        self._train_step: TrainStep | None = None
        self.net_g = self.model_to_device(build_network(opt["network_g"]))
        self.print_network(self.net_g)
        self.load_pretrained(self.net_g, "g")
        if self.is_train:
            self.init_training_settings()
            self._warn_of_own_step()

    # Setting up

    def init_training_settings(self) -> None:
        """Build EMA, losses, optimizers and schedules."""
        self.net_g.train()
        self.init_ema()
        self.init_losses()
        self.setup_optimizers()
        self.setup_schedulers()

    def init_ema(self) -> None:
        """Build the averaged network, if there is to be one."""
        self.ema_decay = self.opt["train"].get("ema_decay") or 0
        if self.ema_decay <= 0:
            return
        logger.info("Exponential moving average of the weights with decay %s.", self.ema_decay)
        # Not wrapped: it is never trained, only tested and saved.
        self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
        layout.convert(self.net_g_ema, self.channels_last is True)
        if not self.load_pretrained(self.net_g_ema, "g", "params_ema"):
            self.model_ema(0)
        self.net_g_ema.eval()

    def init_losses(self) -> None:
        """Build the losses.

        Raises:
            UserError: There is none.
        """
        train_opt = self.opt["train"]
        built = {}
        for name in (PIXEL, PERCEPTUAL):
            entry = train_opt.get(name)
            if entry:
                options, self.loss_schedules[name] = split_schedule(entry)
                built[name] = build_loss(options).to(self.device)
        self.cri_pix, self.cri_perceptual = built.get(PIXEL), built.get(PERCEPTUAL)
        if self.uses_engine_step():  # a subclass with a step of its own builds its own further losses
            self.extra_losses = LossSet.from_options(train_opt, skip=(PIXEL, PERCEPTUAL)).to(self.device)
        if not built and not loss_entries(train_opt):
            raise UserError(
                "Both pixel and perceptual losses are None: train has no loss. Give it one, such as "
                "pixel_opt: {type: L1Loss}"
            )

    def setup_optimizers(self) -> None:
        """Build ``optimizer_g`` from ``train.optim_g``."""
        params = []
        for name, parameter in self.net_g.named_parameters():
            if parameter.requires_grad:
                params.append(parameter)
            else:
                logger.warning("Params %s will not be optimized.", name)
        options = dict(self.opt["train"]["optim_g"])
        self.optimizer_g = self.get_optimizer(options.pop("type"), params, **options)
        self.optimizers.append(self.optimizer_g)

    def uses_engine_step(self) -> bool:
        """Whether :meth:`optimize_parameters` is the engine's, not a subclass's own."""
        return type(self).optimize_parameters is SRModel.optimize_parameters

    def _warn_of_own_step(self) -> None:
        if self.uses_engine_step():
            return
        unused = options_of_step(self.opt["train"], self.precision)
        if unused:
            name = type(self).__name__
            logger.warning("%s has its own optimize_parameters, which does not apply %s.", name, ", ".join(unused))

    def grad_clip(self) -> float:
        """Largest gradient norm; 0 is off."""
        train_opt = self.opt["train"]
        if train_opt.get("use_grad_clip") is False:
            return 0.0
        clip = train_opt.get("grad_clip")
        return self.default_grad_clip if clip is None else float(clip)

    # Training

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch.

        Args:
            data: ``lq`` and perhaps ``gt``, (N, C, H, W) in [0, 1]; ``gt_path`` and ``lq_path`` name the files.
        """
        self.lq = self._to_device(data["lq"])
        if "gt" in data:
            self.gt = self._to_device(data["gt"])
        self.batch_names = [str(name) for name in data.get("gt_path") or data.get("lq_path") or []]

    def _to_device(self, image: Tensor) -> Tensor:
        moved = image.to(self.device, non_blocking=True)
        result: Tensor = layout.image_format(moved, self.channels_last is True)
        return result

    def optimize_parameters(self, current_iter: int) -> None:
        """Make one optimizer step.

        Args:
            current_iter: The iteration, from 1.

        Raises:
            NonFiniteError: A loss or gradient is NaN or infinite (``train.non_finite: stop``).
        """
        step = self._prepared_step()
        result = step.run(
            self.train_batch(),
            self.forward_chunk,
            lambda output, chunk: self.compute_losses(output, chunk, current_iter),
            current_iter,
            self.batch_names,
        )
        self.output = joined([_last(output) for output in result.outputs])
        self.log_dict = OrderedDict(result.parts)
        if self.ema_decay > 0 and result.stepped:
            self.model_ema(decay=self.ema_decay)

    def train_batch(self) -> dict[str, Any]:
        """What the step splits into chunks; a subclass with further inputs adds them."""
        return {"lq": self.lq, "gt": self.gt}

    def forward_chunk(self, chunk: Mapping[str, Any]) -> Any:
        """Run the network on a chunk of the batch."""
        return self.net_g(chunk["lq"])

    def compute_losses(
        self, output: Any, chunk: Mapping[str, Any], current_iter: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sum the losses of a chunk.

        Args:
            output: What :meth:`forward_chunk` returned, in fp32.
            chunk: Part of :meth:`train_batch`.
            current_iter: The iteration.

        Returns:
            The sum, and the detached values for the log.
        """
        pred, target = _last(output), chunk["gt"]
        total, values = self.extra_losses(pred, target, current_iter, lq=chunk["lq"])
        parts = OrderedDict[str, Tensor]()
        for name, loss in ((PIXEL, self.cri_pix), (PERCEPTUAL, self.cri_perceptual)):
            if loss is None:
                continue
            schedule = self.loss_schedules.get(name, LossSchedule())
            term, own = weighted_terms(name, loss, schedule, pred, target, current_iter)
            total = total if term is None else total + term
            parts.update({_UPSTREAM_NAMES[key]: value for key, value in own.items() if key in _UPSTREAM_NAMES})
        parts.update(values)
        return total, parts

    def _prepared_step(self) -> TrainStep:
        """The training step, built when it is first needed: a subclass may set up its optimizers in its own way."""
        if self.channels_last == "auto":
            self._choose_layout()
        if self._train_step is None:
            train_opt = self.opt["train"]
            self._train_step = TrainStep(
                self.net_g,
                self.optimizer_g,
                self.precision,
                self.scaler,
                NonFiniteGuard(train_opt.get("non_finite") or "stop", scaled=self.scaler is not None),
                int(train_opt.get("accum_iter") or 1),
                self.grad_clip(),
            )
        return self._train_step

    def _choose_layout(self) -> None:
        chunk = -(-len(self.lq) // int(self.opt["train"].get("accum_iter") or 1))
        choice = layout.probe(self.get_bare_model(self.net_g), self.lq[:chunk], self.precision)
        self._use_layout(choice)

    def _use_layout(self, channels_last: bool) -> None:
        self.net_g = self.set_channels_last(self.net_g, channels_last)
        if hasattr(self, "net_g_ema"):
            layout.convert(self.net_g_ema, channels_last)
        for name in ("lq", "gt"):
            if hasattr(self, name):
                setattr(self, name, layout.image_format(getattr(self, name), channels_last))

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """See :meth:`BaseModel.resume_training`; a layout that was probed is used again, not probed again."""
        if self.channels_last == "auto" and resume_state.get("channels_last") is not None:
            self._use_layout(resume_state["channels_last"])
        super().resume_training(resume_state)

    def get_current_log(self) -> OrderedDict[str, float]:
        """The losses of the last step as numbers; bad steps that the device has not reported yet come to light here."""
        if self._train_step is not None:
            self._train_step.guard.flush()
        return super().get_current_log()

    def tb_scalars(self) -> dict[str, float]:
        """Gradient norm before clipping, number of skipped steps, and fp16's loss scale."""
        step = self._train_step
        if step is None or step.last_norm is None:
            return {}
        scalars = {"grad_norm": float(step.last_norm)}
        if step.guard.skipped:
            scalars["skipped_steps"] = float(step.guard.skipped)
        if self.scaler is not None:
            scalars["loss_scale"] = float(self.scaler.get_scale())
        return scalars

    # Testing and validation

    def test(self) -> None:
        """Run the network (its EMA where there is one) on ``lq`` into ``output``, in fp32, without gradients."""
        self._test(bool((self.opt.get("val") or {}).get("self_ensemble")))

    def test_selfensemble(self) -> None:
        """Like :meth:`test`, averaged over the eight flips and rotations of the input."""
        self._test(ensemble=True)

    def _test(self, ensemble: bool) -> None:
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
        was_training = net.training
        net.eval()
        with torch.no_grad(), full_precision(self.device.type, bool(self.opt.get("compile"))):
            if ensemble:
                self.output = self_ensemble(lambda image: self._infer(net, image), self.lq)
            else:
                self.output = self._infer(net, self.lq)
        net.train(was_training)

    def _infer(self, net: Callable[[Tensor], Any], image: Tensor) -> Tensor:
        val_opt = self.opt.get("val") or {}

        def once(part: Tensor) -> Tensor:
            result: Tensor = _last(net(part))
            return result

        if not val_opt.get("grids"):
            return once(image)
        scale = int(self.opt.get("scale") or 1)
        height, width = tile_size(val_opt, image.shape[-2], image.shape[-1], scale)
        return tiled(once, image, height, width, val_opt.get("max_minibatch"))

    def nondist_validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on one set; under several processes each takes every world-size-th image.

        Args:
            dataloader: The whole set.
            current_iter: The iteration; in testing, the run's name.
            tb_logger: TensorBoard's writer, or None.
            save_img: Whether to write the outputs.
        """
        if self._train_step is not None:
            self._train_step.guard.flush()
        self.validation_type(self, dataloader, current_iter, tb_logger, save_img).run()

    def take_validation(
        self, dataset_name: str, results: Mapping[str, SetResult], current_iter: int, tb_logger: Any
    ) -> None:
        """Keep and log the figures of one set.

        Args:
            dataset_name: The set.
            results: Metric label to figure, the same on every process.
            current_iter: The iteration.
            tb_logger: TensorBoard's writer, or None.
        """
        self.metric_results = {label: result.mean for label, result in results.items()}
        self._validation_notes = {label: result.note for label, result in results.items()}
        self._initialize_best_metric_results(dataset_name)
        for label, value in self.metric_results.items():
            self._update_best_metric_result(dataset_name, label, value, current_iter)
        if self.is_train:
            self.inform_schedulers(dataset_name, self.metric_results)
        self._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def _log_validation_metric_values(self, current_iter: int, dataset_name: str, tb_logger: Any) -> None:
        best = self.best_metric_results.get(dataset_name) if self.opt["is_train"] else None
        logger.info(log_text(dataset_name, self.metric_results, best, self._validation_notes))
        if tb_logger:
            for label, value in self.metric_results.items():
                tb_logger.add_scalar(f"metrics/{dataset_name}/{label}", value, current_iter)

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """``lq``, ``result`` and, where there is one, ``gt`` of the batch, on the CPU."""
        visuals = OrderedDict(lq=self.lq.detach().cpu(), result=self.output.detach().cpu())
        if hasattr(self, "gt"):
            visuals["gt"] = self.gt.detach().cpu()
        return visuals

    # Files

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the network, with its EMA, and then the training state.

        Args:
            epoch: The epoch; -1 for ``latest``.
            current_iter: The iteration; -1 writes ``latest``, without a state.
        """
        if self._train_step is not None:
            self._train_step.guard.flush()
        self._save_weights(current_iter)
        self.save_training_state(epoch, current_iter)

    def save_best(self, epoch: int, current_iter: int) -> None:
        """Write the network as ``net_g_best.pth``, or under the name that ``val.best_file`` gives."""
        self._save_weights(BEST, (self.opt.get("val") or {}).get("best_file"))
        self._best.improved = False

    def _save_weights(self, label: int | str, file_name: str | None = None) -> None:
        # A subclass may have its own save_network, with upstream's parameters only.
        named = {} if file_name is None else {"file_name": file_name}
        if hasattr(self, "net_g_ema"):
            self.save_network([self.net_g, self.net_g_ema], "net_g", label, ["params", "params_ema"], **named)
        else:
            self.save_network(self.net_g, "net_g", label, **named)


def _last(output: Any) -> Any:
    """A network may return several stages; the last one is its output."""
    return output[-1] if isinstance(output, list | tuple) else output
