"""The network, its loss and figures, the classical methods, the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from basicsr.engine.errors import UserError
from plugins.diagnostic import diagnostic_eval as figures
from plugins.diagnostic.classic_baselines import CLASSIC, HistogramRidge, MeanLuminance
from plugins.diagnostic.color_statistics import COUNT, color_statistics
from plugins.diagnostic.degradation import degrade
from plugins.diagnostic.diagnostic_cnn_arch import (
    EV_PER_LOGIT,
    HEADS,
    DiagnosticCNN,
    decode,
    light_coordinates,
    load_backbone,
)
from plugins.diagnostic.diagnostic_loss import DiagnosticLoss
from plugins.diagnostic.diagnostic_metric import (
    calculate_cast_accuracy,
    calculate_cast_angle,
    calculate_ev_error,
    calculate_saturation_error,
)
from plugins.diagnostic.estimate import Estimate, kelvin_and_tint
from plugins.diagnostic.tone_statistics import COUNT as TONE_COUNT
from plugins.diagnostic.tone_statistics import QUANTILES, tone_statistics


@pytest.fixture(scope="module")
def net() -> DiagnosticCNN:
    torch.manual_seed(0)
    return DiagnosticCNN().eval()


def outputs_for(truth: Tensor, scale: float = 0.1) -> dict[str, Tensor]:
    """Outputs that say exactly ``truth``, with the given uncertainty."""
    ev, rg, bg, level = truth.unbind(1)
    sure = torch.full_like(ev, float(np.log(scale)))
    exposure = torch.stack([-ev / 2 / EV_PER_LOGIT, torch.zeros_like(ev), ev / 2 / EV_PER_LOGIT], 1) + sure[:, None]
    gains = torch.stack([-rg, torch.zeros_like(rg), -bg], 1)
    gains = gains - gains.mean(1, keepdim=True) + sure[:, None]
    balance = torch.cat([light_coordinates(rg, bg), gains], 1)
    logits = 20 * level
    return {
        "exposure": exposure,
        "white_balance": balance,
        "saturation": torch.stack([-logits - 4, logits - 4, level], 1),
    }


TRUTH = torch.tensor([[-1.5, 0.25, -0.3, -0.5], [1.0, -0.1, 0.15, 0.45], [0.0, 0.0, 0.0, 0.0]])
LABELS = {
    "estimate": TRUTH,
    "known": torch.ones(3, 4),
    "exposure_class": torch.tensor([0, 2, 1]),
    "saturation_class": torch.tensor([0, 2, 1]),
}


def test_shapes_size_and_no_global_state(net: DiagnosticCNN) -> None:
    outputs = net(torch.rand(2, 3, 96, 96))
    assert {name: value.shape[1] for name, value in outputs.items()} == HEADS == {
        "exposure": 3, "white_balance": 5, "saturation": 3,
    }  # fmt: skip
    assert 3.2e6 < sum(parameter.numel() for parameter in net.parameters()) < 3.7e6
    answer = net.diagnose(torch.rand(2, 3, 96, 96))
    assert torch.allclose(answer.exposure_probabilities.sum(1), torch.ones(2))
    assert all(0 <= float(value) <= 1 for value in answer.white_balance_confidence)


def test_decoding_reads_the_outputs() -> None:
    answer = decode(outputs_for(TRUTH))
    assert torch.allclose(answer.estimate, TRUTH, atol=1e-5)
    assert answer.exposure_probabilities.argmax(1).tolist()[:2] == [0, 2]
    assert torch.allclose(answer.scales, torch.full((3, 2), 0.1), atol=1e-4)
    assert float(answer.kelvin[0]) == pytest.approx(kelvin_and_tint(0.25, -0.3)[0], rel=1e-3)
    sharp = decode(outputs_for(TRUTH), (0.1, 0.1))
    assert torch.equal(sharp.estimate, answer.estimate)
    assert float(sharp.saturation_confidence[0]) > float(answer.saturation_confidence[0]) - 1e-6


def test_every_output_gets_a_gradient() -> None:
    pred = {name: torch.zeros(3, count, requires_grad=True) for name, count in HEADS.items()}
    loss = DiagnosticLoss(render_weight=0.0)(pred, LABELS)["total"]
    loss.backward()
    for name, value in pred.items():
        assert value.grad is not None and (value.grad.abs().amax(0) > 0).all(), name


def test_the_truth_has_less_loss_than_its_opposite() -> None:
    original = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.2
    batch = {"lq": degrade(original, TRUTH), "original": original}
    right = DiagnosticLoss()(outputs_for(TRUTH), LABELS, batch=batch)
    wrong = DiagnosticLoss()(outputs_for(-TRUTH), LABELS, batch=batch)
    assert all(right[name] < wrong[name] for name in right)
    assert float(right["render"]) < 0.1


def test_masked_labels_do_not_count() -> None:
    unknown = {
        "estimate": TRUTH,
        "known": torch.zeros(3, 4),
        "exposure_class": torch.full((3,), -1),
        "saturation_class": torch.full((3,), -1),
    }
    pred = {name: torch.ones(3, count, requires_grad=True) for name, count in HEADS.items()}
    image = torch.rand(3, 3, 16, 16)
    loss = DiagnosticLoss()(pred, unknown, batch={"lq": image, "original": image})["total"]
    loss.backward()
    assert float(loss.detach()) == 0 and all(value.grad is None or not value.grad.any() for value in pred.values())


def test_loss_refuses_nonsense() -> None:
    with pytest.raises(UserError, match="saturation_weight must not be negative"):
        DiagnosticLoss(saturation_weight=-1)
    with pytest.raises(UserError, match="the data has no known"):
        DiagnosticLoss()(outputs_for(TRUTH), {k: v for k, v in LABELS.items() if k != "known"})


def test_figures_of_exact_and_of_wrong_answers() -> None:
    labels = {name: value.numpy() for name, value in LABELS.items()}
    exact = {name: value.numpy() for name, value in outputs_for(TRUTH).items()}
    assert calculate_ev_error(exact, labels) < 1e-5 and calculate_saturation_error(exact, labels) < 1e-5
    assert calculate_cast_angle(exact, labels) < 1e-3 and calculate_cast_accuracy(exact, labels) == 1
    moved = TRUTH + torch.tensor([0.5, 0.2, 0.0, 0.25])
    off = {name: value.numpy() for name, value in outputs_for(moved).items()}
    assert calculate_ev_error(off, labels) == pytest.approx(0.5, abs=1e-4)
    assert calculate_saturation_error(off, labels) == pytest.approx(0.25, abs=1e-4)
    assert calculate_cast_accuracy(off, labels) == 0 and calculate_cast_accuracy(off, labels, degrees=20) == 1
    labels["known"] = np.zeros((3, 4), np.float32)
    assert np.isnan(calculate_ev_error(off, labels)) and np.isnan(calculate_cast_angle(off, labels))
    with pytest.raises(UserError, match="white_balance missing"):
        calculate_ev_error({"exposure": exact["exposure"], "saturation": exact["saturation"]}, labels)


def test_backbone_weights(tmp_path: Path, net: DiagnosticCNN) -> None:
    file = tmp_path / "mobile.pth"
    torch.save({f"features.{key}": value + 1 for key, value in net.features.state_dict().items()}, file)
    loaded = DiagnosticCNN(pretrained=str(file), frozen_stages=2)
    assert torch.equal(loaded.features[0][0].weight, net.features[0][0].weight + 1)
    loaded.train()
    assert not loaded.features[1].training and loaded.features[2].training
    assert not next(loaded.features[0].parameters()).requires_grad
    still = DiagnosticCNN(frozen_norm=True).train()
    assert not still.features[5].conv[0][1].training and still.exposure.training
    with pytest.raises(UserError, match="are missing: download https://.*mobilenet_v2-b0353104.pth"):
        load_backbone(net.features, "mobilenet_v2")
    with pytest.raises(UserError, match="give a file, or a tag"):
        DiagnosticCNN(pretrained="nowhere.pth")
    torch.save({"weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="not the weights of torchvision's MobileNetV2"):
        DiagnosticCNN(pretrained=str(file))


def test_statistics_follow_a_cast() -> None:
    image = torch.rand(2, 3, 60, 60) * 0.4 + 0.2
    plain, warm = color_statistics(image), color_statistics(degrade(image, Estimate(log_rg=0.4).batch(2)))
    assert plain.shape == (2, COUNT) and plain.isfinite().all()
    assert (warm - plain).abs().max() > 0.1
    assert color_statistics(torch.zeros(1, 3, 20, 20)).isfinite().all()


def test_statistics_of_the_ends() -> None:
    """Quantiles are those of sorting, any size and any plain picture has finite numbers, a picture alone its own."""
    image = torch.rand(3, 3, 40, 50)
    found = tone_statistics(image)
    assert found.shape == (3, TONE_COUNT) and torch.allclose(tone_statistics(image[1:2])[0], found[1], atol=1e-5)
    ordered = image[0, 0].flatten().sort().values
    wanted = torch.stack([ordered[round(share * 1999)] for share in QUANTILES])
    assert (found[0, : len(QUANTILES)] + 0.4 - wanted).abs().max() < 0.002
    for value in (0.0, 0.5, 1.0):
        assert tone_statistics(torch.full((1, 3, 230, 120), value)).isfinite().all()


def test_the_backbone_adds_to_the_statistics() -> None:
    torch.manual_seed(0)
    net, image = DiagnosticCNN(backbone_drop=0.9).eval(), torch.rand(4, 3, 48, 48)
    first = net(image)["exposure"]
    net.backbone_gain.data.fill_(1e9)  # a random backbone gives next to nothing
    second = net(image)["exposure"]
    assert (first - second).abs().max() > 1e-3
    net.train()
    for module in (net.statistics, net.exposure):
        module.eval()
    shown = []
    net.features.register_forward_hook(lambda module, given, output: shown.append(len(output)))
    net(image)["exposure"].sum().backward()
    assert 1 <= shown[0] < 4 and net.backbone_gain.grad is not None and net.backbone_gain.grad.abs().max() > 0
    with pytest.raises(UserError, match="backbone_drop must be from 0 to below 1"):
        DiagnosticCNN(backbone_drop=1.0)


def test_classical_methods_see_what_they_assume() -> None:
    grey = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(1)).expand(-1, 3, -1, -1) * 0.5 + 0.1
    cast = degrade(grey, Estimate(log_rg=0.3, log_bg=-0.2).batch(2))
    for name, method in CLASSIC.items():
        found = method(cast)
        wanted = 0.0 if name == "identity" else 0.3
        assert torch.allclose(found[:, 1], torch.full((2,), wanted), atol=0.02), name
    mean = MeanLuminance.fitted(grey)
    assert torch.allclose(mean(degrade(grey, Estimate(ev=-1.0).batch(2)))[:, 0].mean(), torch.tensor(-1.0), atol=0.15)


def test_ridge_learns_and_the_table_ranks() -> None:
    torch.manual_seed(0)
    originals = torch.rand(40, 3, 1, 1) * 0.2 + 0.3 + 0.1 * torch.rand(40, 3, 24, 24)
    truth = torch.rand(40, 4) * torch.tensor([2.0, 0.4, 0.4, 0.6]) - torch.tensor([1.5, 0.2, 0.2, 0.3])
    truth[:8] = 0
    images = degrade(originals, truth)
    classes = (truth[:, 0] > 0.5).long() - (truth[:, 0] < -0.5).long() + 1
    samples = figures.Samples(
        images, originals, truth, torch.ones(40, 4), classes, torch.ones(40, dtype=torch.long), torch.arange(40) // 4
    )
    ridge = HistogramRidge.fitted(color_statistics(images), truth, samples.known, 0.01)
    rows = {row.name: row for row in [*figures.classic_rows(samples, samples, samples), *figures.oracle_rows(samples)]}
    values = {name: row.values for name, row in rows.items()}
    assert (ridge(images) - truth).abs().mean() < truth.abs().mean()
    assert values["oracle"]["delta_e"] < 0.5 < values["histograms + ridge"]["delta_e"] < values["identity"]["delta_e"]
    assert values["identity"]["delta_e_untouched"] < 0.5 and values["identity"]["harmed"] == 0
    assert values["oracle"]["exposure_accuracy"] == 1 and values["oracle"]["within_3"] == 1
    text = figures.table(rows.values())
    assert text.count("\n") == len(rows) + 1 and "grey-edge" in text


def test_rows_of_a_network() -> None:
    """The truth as answer: no trifle is corrected, the limits bite, and nobody else is better."""
    torch.manual_seed(0)
    originals = torch.rand(12, 3, 24, 24) * 0.3 + 0.2
    truth = TRUTH.repeat(4, 1)
    truth[::6, 2] = -1.2  # a blue so weak that no gain of 1.4 brings it back
    images = degrade(originals, truth, eight_bit=True)
    classes = LABELS["exposure_class"].repeat(4), LABELS["saturation_class"].repeat(4)
    samples = figures.Samples(images, originals, truth, torch.ones(12, 4), *classes, torch.arange(12) // 3)
    estimated, advice = figures.network_rows("net", samples, decode(outputs_for(truth)))
    assert estimated.values["ev_error"] < 1e-4 and estimated.values["delta_e"] < 0.5 < advice.values["delta_e"]
    assert advice.values["delta_e_untouched"] == 0 and advice.values["harmed"] == 0
    assert set(estimated.spread) == set(figures.COLUMNS) and not advice.spread
    nothing = figures.measure("identity", samples, torch.zeros(12, 4))
    assert figures.not_better(estimated, [nothing]) == []
    assert "net: EV error" in figures.not_better(nothing, [estimated])
    # the first goal is the class of exposure, which these outputs leave open where EV is 0
    assert [line.rsplit(": ", 1)[1] for line in figures.goals(estimated, advice, nothing)][1:] == ["met"] * 5
    assert [line.rsplit(": ", 1)[1] for line in figures.goals(nothing, nothing, nothing)][:4] == ["not met"] * 4


def test_intervals_are_over_photos() -> None:
    """Samples of one photo that agree are one witness: the interval is wider than if they counted each."""
    torch.manual_seed(0)
    blank = torch.full((60, 3, 8, 8), 0.5)
    truth = torch.zeros(60, 4)
    estimates = torch.zeros(60, 4)
    estimates[:, 0] = (0.3 * torch.randn(6)).repeat_interleave(10)
    classes = torch.ones(60, dtype=torch.long)
    spreads = []
    for photos in (torch.arange(60) // 10, torch.arange(60)):
        samples = figures.Samples(blank, blank, truth, torch.ones(60, 4), classes, classes, photos)
        spreads.append(figures.measure("x", samples, estimates, spread=True).spread["ev_error"])
    by_photo, alone = spreads
    assert by_photo > 2 * alone > 0


def test_temperature_scaling_lowers_the_calibration_error(net: DiagnosticCNN) -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (400,), generator=generator)
    noisy = torch.where(torch.rand(400, generator=generator) < 0.3, (classes + 1) % 3, classes)
    logits = 8.0 * torch.nn.functional.one_hot(classes, 3).float()
    assert 3 < figures.fitted_temperature(logits, noisy) < 8
    outputs = {"exposure": logits, "white_balance": torch.zeros(400, 5), "saturation": torch.zeros(400, 3)}
    blank = torch.zeros(400, 3, 2, 2)
    samples = figures.Samples(blank, blank, torch.zeros(400, 4), torch.ones(400, 4), noisy, noisy, torch.arange(400))
    found = figures.calibrate(net, outputs, samples)
    before, after = (figures.calibration_errors(outputs, samples, t)[0] for t in ((1.0, 1.0), found))
    assert after < 0.05 < before
    assert torch.allclose(net.get_buffer("temperatures"), torch.tensor(found))
