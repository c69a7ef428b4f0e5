"""The interface that other code calls: names, fields, order, limits, signatures, errors."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import plugins.diagnostic as diagnostic
from plugins.diagnostic.advice import CLAMPS, IDENTITY, PARAMETERS
from plugins.diagnostic.estimate import Estimate
from tests.plugins.diagnostic.diagnostic_api_kit import GENERIC, ToldNetwork, good_photo

ROOT = Path(__file__).resolve().parents[3]
FIELDS = {
    "ExposureDiagnostic": "underexposed_probability overexposed_probability well_exposed_probability suggested_gamma "
    "confidence",
    "WhiteBalanceDiagnostic": "color_temperature_kelvin tint_shift suggested_gains confidence",
    "SaturationDiagnostic": "undersaturated_probability oversaturated_probability current_saturation_level "
    "suggested_adjustment confidence",
    "CorrectionAdvice": "scene_label scene_confidence exposure white_balance saturation final_params "
    "corrections_summary exposure_adjustment_percent white_balance_shift_percent saturation_adjustment_percent "
    "recommended_filters",
}
SIGNATURES: dict[str, dict[str, Any]] = {
    "classify_image": {"img_rgb": ..., "weights_path": None},
    "read_image": {"path": ...},
    "load_diagnostic_model": {"model_path": None, "device": None},
    "optimize_corrections": {
        "img_rgb": ...,
        "scene_result": ...,
        "diagnostic_model": None,
        "device": None,
        "fusion_weight": 0.6,
    },
    "generate_preview": {"img_rgb": ..., "advice": ..., "device": None},
}
PHOTO = good_photo(40)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model and no scene weights of the machine take part."""
    from plugins.diagnostic import model_files, scenes

    monkeypatch.delenv(model_files.MODEL_VARIABLE, raising=False)
    monkeypatch.delenv(scenes.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(model_files, "_folders", lambda: [tmp_path])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def advice_of(truth: Estimate, weight: float = 1.0, scene: dict[str, Any] = GENERIC) -> Any:
    return diagnostic.optimize_corrections(PHOTO, scene, ToldNetwork(truth), fusion_weight=weight)


@pytest.mark.parametrize("name", FIELDS)
def test_the_records_have_these_fields_in_this_order(name: str) -> None:
    assert [entry.name for entry in dataclasses.fields(getattr(diagnostic, name))] == FIELDS[name].split()


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_functions_have_these_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(diagnostic, name)).parameters
    shown = {key: ... if entry.default is entry.empty else entry.default for key, entry in parameters.items()}
    assert shown == SIGNATURES[name] and list(shown) == list(SIGNATURES[name])


def test_analysis_takes_image_model_device() -> None:
    parameters = list(inspect.signature(diagnostic.analyze_image_with_ai).parameters)
    assert parameters == ["img_rgb", "diagnostic_model", "device"]
    seen = diagnostic.analyze_image_with_ai(PHOTO, ToldNetwork(Estimate()), torch.device("cpu"))
    kinds = [diagnostic.ExposureDiagnostic, diagnostic.WhiteBalanceDiagnostic, diagnostic.SaturationDiagnostic]
    assert [type(entry) for entry in seen] == kinds


def test_importing_the_package_is_light_and_names_are_found_late() -> None:
    code = (
        "import sys, plugins.diagnostic as d; before = {'torch', 'cv2', 'torchvision'} & set(sys.modules)"
        "; d.CorrectionAdvice; print(sorted(before), 'torch' in sys.modules, set(d.__all__) <= set(dir(d)))"
    )
    path = f"{ROOT}:{ROOT / 'BasicSR'}"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    assert shown.stdout.split() == ["[]", "True", "True"]
    with pytest.raises(AttributeError, match="optimise_corrections"):
        _ = diagnostic.optimise_corrections


def test_the_tensor_has_the_parameters_in_order() -> None:
    advice = advice_of(Estimate(-1.0, 0.2, -0.2, -0.2))
    tensor = advice.to_tensor("cpu")
    assert tensor.shape == (1, 6) and tensor.dtype == torch.float32
    assert list(advice.final_params) == ["gamma", "gain_r", "gain_g", "gain_b", "sat", "hue"] == list(PARAMETERS)
    assert tensor[0].tolist() == pytest.approx([advice.final_params[name] for name in PARAMETERS])


def test_the_limits_are_these() -> None:
    limits = {"gamma": (0.5, 2.5), "sat": (0.6, 1.6), "hue": (-0.1, 0.1)}
    assert CLAMPS == limits | dict.fromkeys(("gain_r", "gain_g", "gain_b"), (0.7, 1.4))


@settings(max_examples=40, deadline=None)
@given(
    truth=st.tuples(*(st.floats(-size, size) for size in (4.0, 1.5, 1.5, 1.5))),
    preset=st.tuples(*(st.floats(0.01, 30) for _ in range(5)), st.floats(-3, 3)),
    weight=st.floats(0, 1),
)
def test_no_parameter_ever_leaves_its_limits(
    truth: tuple[float, ...], preset: tuple[float, ...], weight: float
) -> None:
    scene = {**GENERIC, "scene_corrections": dict(zip(GENERIC["scene_corrections"], preset, strict=True))}
    advice = advice_of(Estimate(*truth), weight, scene)
    for name, value in advice.final_params.items():
        assert CLAMPS[name][0] <= value <= CLAMPS[name][1], name
    assert generate(advice).dtype == np.uint8


def generate(advice: Any) -> np.ndarray:
    preview: np.ndarray = diagnostic.generate_preview(PHOTO, advice)
    assert preview.shape == PHOTO.shape
    return preview


def test_weight_1_is_the_model_and_0_the_preset() -> None:
    wanted = {"gamma": 1.2, "gain_r": 1.1, "gain_g": 1.0, "gain_b": 0.9, "sat": 1.3, "hue": 0.05}
    scene = {**GENERIC, "scene_corrections": dict(zip(GENERIC["scene_corrections"], wanted.values(), strict=True))}
    truth = Estimate(-1.0, 0.2, -0.2, -0.3)
    model = advice_of(truth, 1.0, scene)
    assert model.final_params == advice_of(truth).final_params
    assert model.final_params["hue"] == 0 and model.final_params["gamma"] == model.exposure.suggested_gamma
    assert advice_of(truth, 0.0, scene).final_params == wanted
    between = advice_of(truth, 0.6, scene).final_params
    for name in PARAMETERS:
        low, high = sorted((wanted[name], model.final_params[name]))
        assert low <= between[name] <= high
    assert between["gamma"] == pytest.approx(model.final_params["gamma"] ** 0.6 * 1.2**0.4)
    assert between["hue"] == pytest.approx(0.02)


def test_percentages_and_filters_say_what_the_parameters_say() -> None:
    advice = advice_of(Estimate(-1.0, 0.2, -0.2, -0.3))
    final = advice.final_params
    assert advice.exposure_adjustment_percent == pytest.approx(100 * (final["gamma"] - 1)) and final["gamma"] > 1
    shift = max(abs(final[name] - 1) for name in ("gain_r", "gain_g", "gain_b"))
    assert advice.white_balance_shift_percent == pytest.approx(100 * shift)
    assert advice.saturation_adjustment_percent == pytest.approx(100 * (final["sat"] - 1))
    names = [entry["name"] for entry in advice.recommended_filters]
    assert names == ["saturation", "white_balance", "exposure"]
    assert all(set(entry) == {"name", "params"} for entry in advice.recommended_filters)
    assert advice.recommended_filters[2]["params"]["ev"] == pytest.approx(1.0, abs=1e-6)
    assert all(isinstance(line, str) for line in advice.corrections_summary)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4, 3), 256.0),
        np.full((4, 4, 3), -1),
        np.full((4, 4, 3), np.nan),
        np.full((4, 4, 3), 0.5),
        np.full((4, 4, 3), "a"),
        [[[0, 0, 0]]],
        None,
    ],
    ids=lambda image: f"{type(image).__name__}-{getattr(image, 'shape', '')}",
)
def test_anything_but_a_photo_is_refused(image: Any) -> None:
    advice = advice_of(Estimate())
    net = ToldNetwork(Estimate())
    for call in (
        lambda: diagnostic.classify_image(image),
        lambda: diagnostic.analyze_image_with_ai(image, net, "cpu"),
        lambda: diagnostic.optimize_corrections(image, GENERIC, net),
        lambda: diagnostic.generate_preview(image, advice),
    ):
        with pytest.raises(ValueError, match="image"):
            call()


def test_whole_numbers_and_floats_of_the_range_are_photos() -> None:
    advice = advice_of(Estimate(-0.8, 0.1, 0.0, 0.2))
    for kind in (np.int64, np.float32, np.uint16):
        assert np.array_equal(diagnostic.generate_preview(PHOTO.astype(kind), advice), generate(advice))
    turned = diagnostic.generate_preview(np.ascontiguousarray(PHOTO[..., ::-1])[..., ::-1], advice)
    assert np.array_equal(turned, generate(advice))


@pytest.mark.parametrize("key", ["scene", "score", "scene_corrections"])
def test_a_scene_without_a_key_is_refused(key: str) -> None:
    scene = {name: value for name, value in GENERIC.items() if name != key}
    with pytest.raises(ValueError, match=key):
        diagnostic.optimize_corrections(PHOTO, scene, ToldNetwork(Estimate()))


@pytest.mark.parametrize("key", list(GENERIC["scene_corrections"]))
@pytest.mark.parametrize("value", [None, "1", float("nan"), float("inf"), ...])
def test_a_preset_needs_every_number(key: str, value: Any) -> None:
    preset = {**GENERIC["scene_corrections"], key: value}
    if value is ...:
        del preset[key]
    with pytest.raises(ValueError, match=key):
        diagnostic.optimize_corrections(PHOTO, {**GENERIC, "scene_corrections": preset}, ToldNetwork(Estimate()))


@pytest.mark.parametrize("scene", [None, [], "Food", {**GENERIC, "scene_corrections": [1.0]}])
def test_a_scene_of_another_kind_is_refused(scene: Any) -> None:
    with pytest.raises(ValueError, match="scene"):
        diagnostic.optimize_corrections(PHOTO, scene, ToldNetwork(Estimate()))


@pytest.mark.parametrize("weight", [-0.01, 1.01, float("nan"), None, "0.5", True])
def test_a_weight_is_a_number_from_0_to_1(weight: Any) -> None:
    with pytest.raises(ValueError, match="fusion_weight"):
        diagnostic.optimize_corrections(PHOTO, GENERIC, ToldNetwork(Estimate()), fusion_weight=weight)


def test_advice_with_broken_parameters_is_refused() -> None:
    for broken in ({**IDENTITY, "gamma": float("nan")}, {**IDENTITY, "sat": 0.0}, {"gamma": 1.0}):
        advice = dataclasses.replace(advice_of(Estimate()), final_params=broken)
        with pytest.raises(ValueError, match="final_params"):
            diagnostic.generate_preview(PHOTO, advice)


def test_a_model_that_gives_nonsense_is_refused() -> None:
    net = ToldNetwork(Estimate())
    net.truth = type("Broken", (), {"ev": float("nan"), "log_rg": 0.0, "log_bg": 0.0, "log_saturation": 0.0})()
    with pytest.raises(ValueError, match="not finite"):
        diagnostic.optimize_corrections(PHOTO, GENERIC, net)
