"""Validation pictures of a colour run in TensorBoard: input, output, target and ΔE map; a sheet of each set's worst."""

from __future__ import annotations

import heapq
import math
from typing import Any

import cv2
import numpy as np
import torch

from basicsr.engine.validation import Measured, Validation
from basicsr.engine.validation_images import thumbnail, to_image
from plugins.color_fidelity.report_images import colored, difference_codes
from plugins.color_science import fast_delta_e00

_CAPTION = 26


class ColorValidation(Validation):
    """:class:`Validation` whose previews end in a ΔE00 map (0 dark, 10 and more bright, as in the HTML report).

    Beside the first ``val.tb_images`` images, under ``validation/<set>/<name>``, the sheet ``worst/<set>`` shows as
    many images that are worst by ``val.best_metric``. Images without a target have neither map nor place there.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        watched = self.model._best.watched()
        self.label = None if watched is None else watched[1]
        self.kept: list[tuple[float, int, Measured]] = []

    def _measure(self, sample: int, name: str, index: int) -> Measured:
        image = super()._measure(sample, name, index)
        if (image.preview is not None or self._is_among_worst(image)) and "gt" in self.visuals:
            image.preview = self._picture(sample)
        return image

    def _is_among_worst(self, image: Measured) -> bool:
        """Note the image if it is among the worst so far; one that no longer is loses its picture."""
        badness = self._badness(image)
        room = self._previews()
        if room < 1 or math.isnan(badness):
            return False
        heapq.heappush(self.kept, (badness, -image.index, image))
        if len(self.kept) <= room:
            return True
        least = heapq.heappop(self.kept)[2]
        if least.index >= room:
            least.preview = None
        return least is not image

    def _badness(self, image: Measured) -> float:
        if self.label is None or self.label not in image.values:
            return math.nan
        value = image.values[self.label]
        return value if self.metrics[self.label].get("better", "higher") == "lower" else -value

    def _picture(self, sample: int) -> np.ndarray[Any, Any]:
        visuals = {key: torch.nan_to_num(value[sample]) for key, value in self.visuals.items()}
        panels = thumbnail(visuals)
        output, target = (to_image(visuals[key][:3], False) for key in ("result", "gt"))
        if output.ndim != 3 or output.shape != target.shape:
            return panels
        count = len([key for key in ("lq", "result", "gt") if key in visuals])
        height, width = panels.shape[0], panels.shape[1] // count
        difference = fast_delta_e00(output, target)
        codes = cv2.resize(difference_codes(difference, max(height, width)), (width, height))
        return np.concatenate([panels, colored(codes)], axis=1)

    def _show(self, images: list[Measured]) -> None:
        if self.tb_logger is None:
            return
        first = self._previews()
        super()._show([image for image in images if image.index < first])
        ranked = [image for image in images if image.preview is not None and not math.isnan(self._badness(image))]
        worst = sorted(ranked, key=lambda image: (-self._badness(image), image.index))[:first]
        if worst:
            sheet = _sheet([self._captioned(image) for image in worst])
            self.tb_logger.add_image(f"worst/{self.dataset_name}", sheet, self.current_iter, dataformats="HWC")

    def _captioned(self, image: Measured) -> np.ndarray[Any, Any]:
        picture = np.asarray(image.preview)
        strip = np.full((_CAPTION, picture.shape[1], 3), 24, np.uint8)
        text = f"{image.name}  {self.label} {image.values[str(self.label)]:.4g}"
        # OpenCV's letters are ASCII
        text = text.encode("ascii", "replace").decode("ascii")
        cv2.putText(strip, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
        return np.concatenate([strip, picture])


def _sheet(pictures: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in pictures]
    return np.concatenate(padded)
