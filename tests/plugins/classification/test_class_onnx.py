"""Classifiers of several heads as ONNX: torch's values, metadata, and gates that refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

import onnx
from onnx import numpy_helper

from basicsr.engine.errors import UserError
from plugins.classification import class_onnx, class_onnx_int8

SIZE = 16


class TwoHeads(nn.Module):
    """Convolutions, a head on their features, and a head on the mean colour that int8 must leave alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.shape, self.color = nn.Linear(8, 4), nn.Linear(3, 3)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.second(torch.relu(self.first((image - 0.5) / 0.25))).mean((2, 3))
        return {"shape": 20 * self.shape(features), "color": self.color(image.mean((2, 3)) * 5)}


def facts(shape: int = 4, color: int = 3) -> dict[str, Any]:
    counts = {"shape": shape, "color": color}
    return {"classes": {head: [{"id": str(n)} for n in range(count)] for head, count in counts.items()}, "task": "test"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    net = TwoHeads().eval()
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    class_onnx.export_classifier(net, SIZE, path, facts())
    return net, path


def test_any_batch_gives_torchs_logits(exported: tuple[nn.Module, Path]) -> None:
    net, path = exported
    session = class_onnx.open_session(path)
    for count in (1, 5):
        images = class_onnx.made_images(SIZE, count)
        got = class_onnx.run_session(session, images)
        for head, value in net(torch.from_numpy(images)).items():
            assert np.abs(got[head] - value.detach().numpy()).max() < 1e-4
    (shape, color) = class_onnx.check_logits(net, path, class_onnx.made_images(SIZE))
    assert (shape.head, color.head) == ("shape", "color") and shape.largest < 1e-4 and shape.same_top == 1


def test_the_file_says_what_it_is(exported: tuple[nn.Module, Path]) -> None:
    model = onnx.load(str(exported[1]))
    said = class_onnx.metadata_of(model)
    assert said["classes"]["color"][2]["id"] == "2" and said["heads"] == ["shape", "color"]
    assert (said["format"], said["precision"]) == ("basicsr-classifier", "fp32")
    assert [one.name for one in model.graph.output] == ["shape_logits", "color_logits"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [one.dim_param or one.dim_value for one in shape] == ["batch", 3, SIZE, SIZE]
    assert [path.name for path in exported[1].parent.iterdir()] == ["net.onnx"]  # no data beside it


def test_another_networks_file_is_seen(exported: tuple[nn.Module, Path]) -> None:
    net = TwoHeads().eval()
    net.color.bias.data[1] += 0.5
    parities = {one.head: one for one in class_onnx.check_logits(net, exported[1], class_onnx.made_images(SIZE))}
    assert parities["color"].largest == pytest.approx(0.5, abs=1e-4) and parities["shape"].largest < 1e-4
    net.shape.weight.data[0, 0] = float("nan")
    parities = {one.head: one for one in class_onnx.check_logits(net, exported[1], class_onnx.made_images(SIZE))}
    assert np.isnan(parities["shape"].largest)


def test_classes_must_fit_the_heads(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'color' has 3 outputs, but 2"):
        class_onnx.export_classifier(TwoHeads(), SIZE, tmp_path / "a.onnx", facts(color=2))
    with pytest.raises(UserError, match=r"ends in \.onnx"):
        class_onnx.export_classifier(TwoHeads(), SIZE, tmp_path / "a.pth", facts())
    assert not list(tmp_path.iterdir())


def test_only_convolutions_become_int8_and_the_metadata_stays(exported: tuple[nn.Module, Path], tmp_path: Path) -> None:
    images = list(class_onnx.made_images(SIZE, 12))
    small = tmp_path / "small.onnx"
    class_onnx_int8.quantize(exported[1], small, images)
    model = onnx.load(str(small))
    small_ones = [len(one.dims) for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT8]
    assert small_ones.count(4) == 2 and small_ones.count(2) == 0  # the weights of both convolutions, of no head
    said = class_onnx.metadata_of(model)
    assert said["precision"] == "int8" and said["task"] == "test" and said["calibration"]["images"] == 12
    session, exact = class_onnx.open_session(small, optimize=False), class_onnx.open_session(exported[1])
    batch = np.stack(images)
    got, expected = class_onnx.run_session(session, batch), class_onnx.run_session(exact, batch)
    assert np.abs(got["color"] - expected["color"]).max() < 1e-5
    difference = np.abs(got["shape"] - expected["shape"]).max()
    assert 0 < difference < 0.1 * np.ptp(expected["shape"])
    with pytest.raises(UserError, match="calibration images"):
        class_onnx_int8.quantize(exported[1], small, [])


def test_int8_is_judged_by_labels_where_there_are_some(exported: tuple[nn.Module, Path], tmp_path: Path) -> None:
    other = onnx.load(str(exported[1]))
    (bias,) = [one for one in other.graph.initializer if one.name.endswith("shape.bias")]
    bias.CopyFrom(numpy_helper.from_array(np.array([0, 0, 0, 100], np.float32), bias.name))  # always class 3
    onnx.save(other, str(tmp_path / "other.onnx"))
    images = list(class_onnx.made_images(SIZE, 10))
    answers = class_onnx.run_session(class_onnx.open_session(exported[1]), np.stack(images))["shape"].argmax(1)
    assert not (answers == 3).all()
    labels = {"shape": np.where(np.arange(10) < 8, answers, -1), "color": np.full(10, -1)}
    (shape,) = class_onnx_int8.judge(exported[1], tmp_path / "other.onnx", images, labels)
    assert (shape.images, shape.labelled, shape.before) == (8, True, 1.0)
    assert shape.after == np.mean(answers[:8] == 3) and shape.loss == pytest.approx(100 * (1 - shape.after))
    judged = class_onnx_int8.judge(exported[1], tmp_path / "other.onnx", images, None)
    assert [one.labelled for one in judged] == [False, False] and judged[0].after == np.mean(answers == 3)
    with pytest.raises(UserError, match="loses too much: head 'shape' agreement"):
        class_onnx_int8.check_losses(judged, 10)


def test_too_few_images_cannot_show_a_small_loss() -> None:
    good = class_onnx_int8.HeadLoss("part", 50, True, 0.9, 0.885, 0.98, 6.0)
    class_onnx_int8.check_losses([good], 2)
    with pytest.raises(UserError, match="at least 100"):
        class_onnx_int8.check_losses([good], 1)
    with pytest.raises(UserError, match="no image has a known class"):
        class_onnx_int8.check_losses([], 2)


def test_the_largest_loss_that_the_pictures_do_not_exclude() -> None:
    def pairs(lost: int, won: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        place = np.arange(count)
        return place >= won, place < count - lost

    # Agresti and Min's interval worked out by hand: 5 / 102 + 1.96 sqrt((16 / 102 - (5 / 102)^2) / 102)
    assert class_onnx_int8.largest_loss(*pairs(10, 5, 100)) == pytest.approx(12.53, abs=0.01)
    assert class_onnx_int8.largest_loss(*pairs(0, 0, 61)) == pytest.approx(100 * 1.96 / 63)
    assert class_onnx_int8.largest_loss(*pairs(100, 50, 1000)) < 8
    assert class_onnx_int8.largest_loss(*pairs(0, 30, 100)) < 0
