"""Losses, metrics and confusion matrices of the classifiers, against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from basicsr.engine.errors import UserError
from plugins.classification.class_metric import (
    calculate_accuracy,
    calculate_balanced_accuracy,
    calculate_calibration_error,
    calculate_negative_log_likelihood,
)
from plugins.classification.confusion import confusion_matrix, confusion_picture, recalls
from plugins.classification.head_loss import HeadCrossEntropyLoss


def random_set(seed: int, count: int = 200, classes: int = 6) -> tuple[dict, dict]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    logits = rng.normal(size=(count, classes)) + 2 * np.eye(classes)[labels] * (rng.random((count, 1)) < 0.6)
    return {"class": logits}, {"class": labels}


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_an_independent_library(seed: int) -> None:
    outputs, labels = random_set(seed)
    logits, classes = outputs["class"], labels["class"]
    answers = logits.argmax(1)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert calculate_accuracy(outputs, labels) == pytest.approx(oracle.accuracy_score(classes, answers))
    assert calculate_accuracy(outputs, labels, top_k=3) == pytest.approx(
        oracle.top_k_accuracy_score(classes, logits, k=3, labels=range(6))
    )
    assert calculate_balanced_accuracy(outputs, labels) == pytest.approx(
        oracle.balanced_accuracy_score(classes, answers)
    )
    assert calculate_negative_log_likelihood(outputs, labels) == pytest.approx(
        oracle.log_loss(classes, probabilities, labels=range(6))
    )
    assert (confusion_matrix(classes, answers, 6) == oracle.confusion_matrix(classes, answers, labels=range(6))).all()


def test_unknown_labels_do_not_count() -> None:
    outputs, labels = random_set(7)
    hidden = labels["class"].copy()
    hidden[::3] = -1
    kept = hidden >= 0
    shorter = {"class": outputs["class"][kept]}, {"class": labels["class"][kept]}
    for metric in (calculate_accuracy, calculate_balanced_accuracy, calculate_negative_log_likelihood):
        assert metric(outputs, {"class": hidden}) == pytest.approx(metric(*shorter))
        assert math.isnan(metric(outputs, {"class": np.full(200, -1)}))


def test_calibration_error_of_answers_that_are_right_as_often_as_they_say() -> None:
    # 100 answers of confidence 0.75, of which 75 are right, then all right: errors 0 and 0.25.
    logits = np.log(np.tile([0.75, 0.25], (100, 1)))
    labels = np.r_[np.zeros(75), np.ones(25)]
    assert calculate_calibration_error({"class": logits}, {"class": labels}) == pytest.approx(0, abs=1e-9)
    assert calculate_calibration_error({"class": logits}, {"class": np.zeros(100)}) == pytest.approx(0.25)


def test_a_missing_head_is_named() -> None:
    with pytest.raises(UserError, match="'color': the network has none; it has class"):
        calculate_accuracy({"class": np.zeros((1, 2))}, {"color": np.zeros(1)}, head="color")
    with pytest.raises(UserError, match="'color': the data has no such head"):
        HeadCrossEntropyLoss(head="color")({"color": torch.zeros(1, 2)}, {"part": torch.zeros(1)})


def test_loss_is_cross_entropy_of_the_known_samples_only() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, -1, 2, -7, 1])
    known = labels >= 0
    result = HeadCrossEntropyLoss(loss_weight=2.0)({"class": logits}, {"class": labels})
    wanted = torch.nn.functional.cross_entropy(logits[known], labels[known])
    assert result["total"].item() == pytest.approx(2 * wanted.item())
    result["total"].backward()
    assert logits.grad is not None and (logits.grad[~known] == 0).all() and (logits.grad[known] != 0).any()


def test_a_batch_without_known_samples_has_a_finite_loss_with_a_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = HeadCrossEntropyLoss()({"class": logits}, {"class": torch.tensor([-1, -1])})["total"]
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()


def test_class_weights_of_another_length_are_refused() -> None:
    loss = HeadCrossEntropyLoss(class_weights=[1.0, 2.0])
    with pytest.raises(UserError, match="2 values, but head 'class' has 3 classes"):
        loss({"class": torch.zeros(1, 3)}, {"class": torch.zeros(1, dtype=torch.long)})


def test_recalls_of_an_absent_class_are_undefined() -> None:
    shares = recalls(np.array([[3, 1], [0, 0]]))
    assert shares[0] == 0.75 and np.isnan(shares[1])


@pytest.mark.parametrize("classes", [2, 5, 40, 200])
def test_picture_is_darkest_where_the_answers_are(classes: int) -> None:
    picture = confusion_picture(np.eye(classes, dtype=int) * 9, [f"class {i}" for i in range(classes)], "A title")
    assert picture.dtype == np.uint8 and picture.shape[2] == 3 and max(picture.shape) < 2000
    cell = max(6, min(72, 640 // classes))
    top, left = picture.shape[0] - 16 - cell * classes, picture.shape[1] - 16 - cell * classes
    corner = picture[top + 2, max(left, 0) + 2] if classes > 16 else None
    assert corner is None or corner.sum() < 400


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="one label and one prediction"):
        confusion_matrix(np.zeros(3), np.zeros(4), 2)
    with pytest.raises(ValueError, match="not below 2"):
        confusion_matrix(np.array([0, 2]), np.array([0, 0]), 2)
