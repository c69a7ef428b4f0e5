"""Validation of a classifier: figures of whole sets, confusion matrices, some pictures with their answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.engine.checkpoint import write_atomic
from basicsr.engine.image_io import encode_png
from basicsr.engine.validation import Measured, Validation
from basicsr.engine.validation_report import SetResult
from plugins.classification.confusion import confusion_matrix, confusion_picture

logger = logging.getLogger("basicsr")
Arrays = dict[str, np.ndarray[Any, Any]]
_PREVIEW = 224


@dataclass
class Classified(Measured):
    """One picture.

    Attributes:
        outputs: Head to its logits (K,).
        labels: Head to its label, and the data's further tensors.
    """

    outputs: Arrays = field(default_factory=dict)
    labels: Arrays = field(default_factory=dict)


class ClassValidation(Validation):
    """One pass over one set; see :class:`basicsr.engine.validation.Validation`.

    With ``val.save_img`` the confusion matrices are also written to ``visualization/<set>/``.
    """

    def _feed(self, batch: Mapping[str, Any]) -> list[str]:
        model: Any = self.model
        model.feed_data(dict(batch))
        model.test()
        self.image = model.lq.detach().float().cpu().numpy()
        self.batch_outputs = {head: value.detach().float().cpu().numpy() for head, value in model.output.items()}
        known = {**model.extras, **model.labels}
        self.batch_labels = {name: value.detach().cpu().numpy() for name, value in known.items()}
        return [Path(path).stem for path in batch["lq_path"]]

    def _measure(self, sample: int, name: str, index: int) -> Classified:
        outputs = {head: value[sample] for head, value in self.batch_outputs.items()}
        for head, logits in outputs.items():
            if not np.isfinite(logits).all():
                logger.warning("Validation %s: '%s' of %s is not finite.", self.dataset_name, head, name)
        labels = {key: value[sample] for key, value in self.batch_labels.items()}
        picture = Classified(index, name, {}, None, outputs, labels)
        if index < self._previews():
            step = max(1, max(self.image.shape[2:]) // _PREVIEW)
            image = self.image[sample, :, ::step, ::step].transpose(1, 2, 0)
            picture.preview = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        return picture

    def _forget(self) -> None:
        super()._forget()
        for name in ("labels", "extras"):
            if hasattr(self.model, name):
                delattr(self.model, name)

    def _conclude(self, images: list[Any]) -> None:
        self._show_answers(images)
        if not images:
            return
        outputs = {head: np.stack([image.outputs[head] for image in images]) for head in images[0].outputs}
        labels = {key: np.stack([image.labels[key] for image in images]) for key in images[0].labels}
        self._show_confusions(outputs, labels)
        if not self.metrics:
            return
        from basicsr.metrics import calculate_metric

        model: Any = self.model
        data = {"outputs": outputs, "labels": {**labels, **model.metric_context()}}
        results = {}
        for label, entry in self.metrics.items():
            options = {key: value for key, value in entry.items() if key != "better"}
            results[label] = SetResult(float(calculate_metric(data, options)), len(images))
        self.model.take_validation(self.dataset_name, results, self.current_iter, self.tb_logger)

    def _show_confusions(self, outputs: Arrays, labels: Arrays) -> None:
        model: Any = self.model
        for head, logits in outputs.items():
            if head not in labels or labels[head].ndim != 1 or logits.ndim != 2:
                continue
            wanted = self.tb_logger is not None or self.writer is not None
            if not wanted:
                continue
            matrix = confusion_matrix(labels[head], logits.argmax(1), logits.shape[1])
            title = f"{self.dataset_name}: {head}, iteration {self.current_iter}"
            picture = confusion_picture(matrix, model.class_names(head), title)
            if self.tb_logger is not None:
                tag = f"confusion/{self.dataset_name}/{head}"
                self.tb_logger.add_image(tag, picture, self.current_iter, dataformats="HWC")
            if self.writer is not None:
                folder = Path(self.opt["path"]["visualization"]) / self.dataset_name
                folder.mkdir(parents=True, exist_ok=True)
                file = folder / f"confusion_{head}_{self.current_iter}.png"
                write_atomic(file, lambda stream, pixels=picture: stream.write(encode_png(pixels)))  # type: ignore[misc]

    def _show_answers(self, images: list[Any]) -> None:
        if self.tb_logger is None:
            return
        for image in images:
            if image.preview is not None:
                tag = f"validation/{self.dataset_name}/{image.name}{self._answer(image)}"
                self.tb_logger.add_image(tag, image.preview, self.current_iter, dataformats="HWC")

    def _answer(self, image: Any) -> str:
        """`` head: truth`` of each head, the same in every validation, so that TensorBoard keeps one slider."""
        model: Any = self.model
        parts = []
        for head in image.outputs:
            label = image.labels.get(head)
            if label is not None and label.ndim == 0 and label >= 0:
                names = model.class_names(head)
                parts.append(f" {head} {names[int(label)] if names else int(label)}")
        return "".join(parts)
