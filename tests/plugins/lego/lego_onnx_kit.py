"""Exported models without torch: a model that answers by the picture's mean colour, and pictures for it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from plugins.lego.lego_resize import input_recipe

RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)
COLOR_IDS = ("4", "2", "1")
PART_IDS = ("3001", "3003")


def facts(**changed: Any) -> dict[str, Any]:
    """The metadata of the made model."""
    classes = {
        "part": [{"index": i, "id": one, "name": f"Brick {one}"} for i, one in enumerate(PART_IDS)],
        "color": [{"index": i, "id": one, "name": one, "rgb": "#112233"} for i, one in enumerate(COLOR_IDS)],
    }
    made: dict[str, Any] = {
        "format": "basicsr-classifier",
        "format_version": 1,
        "task": "lego",
        "classes": classes,
        "color_scheme": "ldraw",
        "input": input_recipe(16),
        "temperature": {"part": 1.0, "color": 1.0},
        "precision": "fp32",
    }
    return {**made, **changed}


def made_model(path: Path, **changed: Any) -> Path:
    """Colour logits are 10 x the mean R, G, B; part logits are 4 x mean red and 0."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        "color": 10 * np.eye(3, dtype=np.float32),
        "part": np.array([[4, 0], [0, 0], [0, 0]], np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    nodes += [helper.make_node("MatMul", ["flat", head], [f"{head}_logits"]) for head in weights]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [
            helper.make_tensor_value_info(f"{head}_logits", TensorProto.FLOAT, ["batch", value.shape[1]])
            for head, value in weights.items()
        ],
        [numpy_helper.from_array(value, head) for head, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in facts(**changed).items()})
    onnx.save(model, str(path))
    return path


def encoded(pixels: np.ndarray[Any, Any], form: str = "PNG", **options: Any) -> bytes:
    """An encoded picture."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def plain(color: tuple[int, int, int], height: int = 20, width: int = 30) -> np.ndarray[Any, Any]:
    """A picture of one colour."""
    return np.broadcast_to(np.array(color, np.uint8), (height, width, 3)).copy()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has this size and has next to no pixels."""
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
