"""Parts and colours of pictures by an exported model: numpy, onnxruntime and Pillow are all that is needed.

    from plugins.lego.inference import ClassifierLoader
    classifier = ClassifierLoader("lego.onnx")
    answer = classifier.predict(open("brick.jpg", "rb").read())
    answer.part_id, answer.part_confidence, answer.color_id, answer.color_confidence

Names, picture size and resizing come out of the model file, so they cannot be those of another model.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.lego.inference_image import MAX_BYTES, MAX_PIXELS, ImageError, read_picture
from plugins.lego.lego_resize import FILTER, MODES, prepare_image

Array = np.ndarray[Any, Any]

PART, COLOR = "part", "color"
FORMAT, FORMAT_VERSION = "basicsr-classifier", 1
UNKNOWN = "unknown"
INPUT, OUTPUT_SUFFIX = "image", "_logits"


class ModelFileError(ValueError):
    """A model file that cannot be used; the message names it and says what would be right."""


@dataclass(frozen=True)
class Candidate:
    """One class.

    Attributes:
        id: Part id, or colour id in the model's scheme.
        name: What to show.
        confidence: Calibrated probability, from 0 to 1.
    """

    id: str
    name: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """What a picture shows; a head that the model lacks is None and empty.

    Attributes:
        part_id: Best class of part; ``unknown`` below the threshold.
        part_confidence: Its calibrated probability, also where it is unknown.
        color_id: Best class of colour, in the model's scheme of ids; ``unknown`` below the threshold.
        color_confidence: Its calibrated probability.
        parts: The first classes of parts, best first, whether known or not.
        colors: Likewise.
    """

    part_id: str | None
    part_confidence: float | None
    color_id: str | None
    color_confidence: float | None
    parts: tuple[Candidate, ...]
    colors: tuple[Candidate, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **asdict(self),
            "parts": [asdict(one) for one in self.parts],
            "colors": [asdict(o) for o in self.colors],
        }


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        classes: Head to rows with ``id`` and ``name``.
        recipe: How a picture becomes the input, see ``lego_resize.prepare_image``.
        temperature: Head to what its logits are divided by.
        unknown_below: Head to the least confidence of an answer.
        facts: All of the metadata.
    """

    classes: Mapping[str, Sequence[Mapping[str, Any]]]
    recipe: Mapping[str, Any]
    temperature: Mapping[str, float]
    unknown_below: Mapping[str, float]
    facts: Mapping[str, Any]


class ClassifierLoader:
    """A model, ready to look at pictures. One object may be used from several threads.

    Args:
        model_path: File of ``tools/export_onnx.py``.
        threads: Of one picture; 0 for as many as there are cores.
        unknown_below: Head (``part``, ``color``) to the least confidence of an answer, over what the file says.
        top_k: How many classes are listed.
        max_pixels: Most pixels of a picture.
        max_bytes: Most bytes of its file.

    Raises:
        ModelFileError: The file is missing, no ONNX model, or does not say what it is.
        ValueError: Another argument is out of range.

    Attributes:
        info: What the file says.
    """

    def __init__(
        self,
        model_path: str | Path,
        threads: int = 0,
        unknown_below: Mapping[str, float] | None = None,
        top_k: int = 5,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if threads < 0 or top_k < 1 or max_pixels < 1 or max_bytes < 1:
            raise ValueError("threads is at least 0; top_k, max_pixels and max_bytes are at least 1")
        self.path = Path(model_path)
        self._session = _open(self.path, threads)
        self.info = _info(self.path, self._session)
        self.heads = tuple(self.info.classes)
        self.thresholds = {**self.info.unknown_below, **(unknown_below or {})}
        for head, value in self.thresholds.items():
            if head not in self.heads or not 0 <= value <= 1:
                raise ValueError(f"unknown_below {head}={value}: give a share from 0 to 1 for {', '.join(self.heads)}")
        self.top_k, self.max_pixels, self.max_bytes = top_k, max_pixels, max_bytes

    def predict(self, image_bytes: bytes) -> Prediction:
        """Name what one picture shows.

        Args:
            image_bytes: An encoded JPEG, PNG or WebP picture.

        Raises:
            ImageError: The picture cannot be looked at; see the kinds in ``inference_image``.
        """
        return self.decide(self.probabilities(self.prepare(image_bytes)[None]))

    def predict_views(self, images: Sequence[bytes]) -> Prediction:
        """Name what several pictures of one brick show: their probabilities are averaged.

        Raises:
            ImageError: There is none, or one cannot be looked at; the message says which.
        """
        if isinstance(images, (bytes, bytearray, str)) or not len(images):
            raise ImageError("views are a list of at least one picture")
        rows: list[dict[str, Array]] = []
        for number, content in enumerate(images, start=1):
            try:
                rows.append(self.probabilities(self.prepare(content)[None]))
            except ImageError as error:
                raise type(error)(f"picture {number}: {error}") from error
        return self.decide(joined(rows))

    def prepare(self, image_bytes: bytes) -> Array:
        """The network's input (3, S, S) of an encoded picture."""
        return prepare_image(read_picture(image_bytes, self.max_pixels, self.max_bytes), self.info.recipe)

    def probabilities(self, inputs: Array) -> dict[str, Array]:
        """Calibrated probabilities (N, classes) of inputs (N, 3, S, S), by head."""
        values = self._session.run([head + OUTPUT_SUFFIX for head in self.heads], {INPUT: inputs})
        return {
            head: softmax(logits / self.info.temperature.get(head, 1.0))
            for head, logits in zip(self.heads, values, strict=True)
        }

    def decide(self, probabilities: Mapping[str, Array]) -> Prediction:
        """The answer for views of one brick, (N, classes) by head."""
        part_id, part_confidence, parts = self._best(PART, probabilities)
        color_id, color_confidence, colors = self._best(COLOR, probabilities)
        return Prediction(part_id, part_confidence, color_id, color_confidence, parts, colors)

    def _best(
        self, head: str, probabilities: Mapping[str, Array]
    ) -> tuple[str | None, float | None, tuple[Candidate, ...]]:
        if head not in probabilities:
            return None, None, ()
        mean = probabilities[head].mean(0)
        rows = self.info.classes[head]
        order = np.argsort(-mean, kind="stable")[: self.top_k]
        listed = tuple(
            Candidate(str(rows[n]["id"]), str(rows[n].get("name", rows[n]["id"])), float(mean[n])) for n in order
        )
        best = listed[0]
        known = best.confidence >= self.thresholds.get(head, 0.0)
        return best.id if known else UNKNOWN, best.confidence, listed


def joined(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Probabilities of several pictures under each other."""
    return {head: np.concatenate([row[head] for row in rows]) for head in rows[0]}


def softmax(logits: Array) -> Array:
    """Probabilities (N, K) of logits (N, K), in float64."""
    shifted = np.asarray(logits, np.float64)
    raised = np.exp(shifted - shifted.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _open(path: Path, threads: int) -> Any:
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise ModelFileError("onnxruntime is not installed: pip install onnxruntime") from error
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no such file; tools/export_onnx.py makes it")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    broken: tuple[type[Exception], ...] = (RuntimeError, ValueError, *_errors_of(runtime))
    try:
        # by its bytes: a file that names further files beside it is not followed
        return runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except broken as error:
        raise ModelFileError(f"{path}: this is no ONNX model that can be run ({str(error).splitlines()[0]})") from error


def _errors_of(runtime: Any) -> tuple[type[Exception], ...]:
    """ONNX Runtime's errors have no common base but ``Exception``."""
    state = runtime.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def _info(path: Path, session: Any) -> ModelInfo:
    stored = session.get_modelmeta().custom_metadata_map
    try:
        facts: dict[str, Any] = {key: json.loads(value) for key, value in stored.items()}
    except ValueError as error:
        raise ModelFileError(f"{path}: its metadata is damaged ({error})") from error
    if facts.get("format") != FORMAT or facts.get("task") != "lego":
        raise ModelFileError(f"{path}: this is no LEGO classifier of tools/export_onnx.py: it lacks its metadata")
    if facts.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: metadata of version {facts.get('format_version')}; this program reads {FORMAT_VERSION}; export"
        )
    recipe, classes = facts.get("input"), facts.get("classes")
    if not isinstance(recipe, dict) or not isinstance(classes, dict) or not classes or set(classes) - {PART, COLOR}:
        raise ModelFileError(f"{path}: its metadata lacks the classes or the size of pictures; export it again")
    if recipe.get("filter") != FILTER or recipe.get("mode") not in MODES or not isinstance(recipe.get("size"), int):
        raise ModelFileError(f"{path}: pictures for it are resized in a way that this program does not know: {recipe}")
    shapes = {output.name: output.shape for output in session.get_outputs()}
    for head, rows in classes.items():
        shape = shapes.get(head + OUTPUT_SUFFIX)
        if shape is None or len(shape) != 2 or shape[1] != len(rows):
            raise ModelFileError(
                f"{path}: head '{head}' names {len(rows)} classes, its output is {shape}; export it again"
            )
    temperature = {head: float(value) for head, value in facts.get("temperature", {}).items()}
    if not all(value > 0 for value in temperature.values()):
        raise ModelFileError(f"{path}: a temperature must be above 0: {temperature}")
    return ModelInfo(classes, recipe, temperature, facts.get("unknown_below", {}), facts)
