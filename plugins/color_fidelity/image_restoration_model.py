"""The restoration model of NAFNet's option files, with any number of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from basicsr.engine.errors import UserError
from basicsr.engine.loss_set import LossSet
from basicsr.models.sr_model import PERCEPTUAL, PIXEL, SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from plugins.color_fidelity.report_validation import ColorValidation


@MODEL_REGISTRY.register()
class ImageRestorationModel(SRModel):
    """Every ``<name>_opt`` under ``train`` that has a ``type`` is a loss; the losses are summed.

    A loss and each of its parts is logged as ``<name>_opt`` and ``<name>_opt/<part>``, from several losses on also the
    sum as ``l_total``. Differences from :class:`SRModel`, as NAFNet's own repository has them: the gradient norm is
    clipped to 0.01 unless the options say otherwise, a network may return a list of stages (``pixel_opt`` is summed
    over them, the last one is the output), and validation writes the target beside the output.

    Args:
        opt: The run's options. ``train.grad_clip`` sets another norm; ``train.use_grad_clip: false`` clips nothing.

    Attributes:
        losses: All losses.

    Raises:
        UserError: There is no loss, or ``train.mixup`` is on.
    """

    default_grad_clip: ClassVar[float] = 0.01
    default_save_gt: ClassVar[bool] = True
    validation_type = ColorValidation

    def init_losses(self) -> None:
        """Build the losses."""
        train_opt = self.opt["train"]
        if train_opt.get("mixup"):
            raise UserError("train.mixup: true: mixing images is not available; remove it or set it to false")
        self.losses = LossSet.from_options(train_opt).to(self.device)
        if not len(self.losses):
            raise UserError("train has no loss: add at least one <name>_opt with a type, as pixel_opt: {type: L1Loss}")
        self.cri_pix, self.cri_perceptual = self.losses.get(PIXEL), self.losses.get(PERCEPTUAL)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; see :meth:`SRModel.feed_data`.

        Args:
            data: May hold ``context``, (N, 3, S, S): a thumbnail of the photo that each input is a crop of. It goes to
                networks that ask for it, those with a ``make_context``.
        """
        super().feed_data(data)
        self.context = self._to_device(data["context"]) if "context" in data else None

    def train_batch(self) -> dict[str, Any]:
        """What the step splits into chunks."""
        batch = super().train_batch()
        if self.context is not None and self._takes_context:
            batch["context"] = self.context
        return batch

    def forward_chunk(self, chunk: Mapping[str, Any]) -> Any:
        """Run the network on a chunk of the batch, with its context where there is one."""
        if "context" in chunk:
            return self.net_g(chunk["lq"], chunk["context"])
        return super().forward_chunk(chunk)

    @property
    def _takes_context(self) -> bool:
        return hasattr(self.get_bare_model(self.net_g), "make_context")

    def _infer(self, net: Any, image: Tensor) -> Tensor:
        """Run the network on whole images; where it sees tiles, their context is still that of the whole image."""
        if not hasattr(net, "make_context"):
            return super()._infer(net, image)
        outputs = []
        for one in image.split(1):
            context = net.make_context(one)

            def run(part: Tensor, context: Tensor = context) -> Any:
                return net(part, context.expand(len(part), -1, -1, -1))

            outputs.append(super()._infer(run, one))
        return torch.cat(outputs)

    def compute_losses(
        self, output: Any, chunk: Mapping[str, Any], current_iter: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sum the losses of a chunk; see :meth:`SRModel.compute_losses`."""
        stages = list(output) if isinstance(output, list | tuple) else [output]
        total = stages[-1].new_zeros(())
        values: dict[str, Tensor] = {}
        for name in self.losses:
            for stage in stages if name == PIXEL else stages[-1:]:
                term, parts = self.losses.one(name, stage, chunk["gt"], current_iter, lq=chunk["lq"])
                total = total if term is None else total + term
                for key, value in parts.items():
                    values[key] = values[key] + value if key in values else value
        if len(values) > 1 and len(self.losses) > 1:
            values["l_total"] = total.detach()
        return self._with_every_parameter(total), values

    def _with_every_parameter(self, total: Tensor) -> Tensor:
        """Under DDP every parameter must get a gradient in every step, or the processes wait for it: let it be zero."""
        if not isinstance(self.net_g, DistributedDataParallel):
            return total
        sums = [parameter.sum() for parameter in self.net_g.parameters() if parameter.requires_grad]
        return total + 0.0 * torch.stack(sums).sum()
