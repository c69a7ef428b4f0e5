"""The composite, its parts as native losses, and the options by which both are made."""

import inspect
import sys

import pytest
import torch
from torch import Tensor

from basicsr.engine.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY
from plugins.color_fidelity import color_part_loss as parts
from plugins.color_fidelity.color_aware_loss import ColorAwareLoss

REGION = {"chroma_threshold": 0.04, "mask_type": "sigmoid", "mask_strength": 40.0, "neutral_weight": 0.1,
          "mask_floor": 0.1, "color_scales": [1, 4], "eps": 1e-5}  # fmt: skip
PARTS = {
    "rgb": (parts.RGBLoss, {"rgb_type": "charbonnier", "eps": 1e-5}),
    "luma": (parts.LumaLoss, {"rgb_type": "charbonnier", "eps": 1e-5}),
    "cbcr": (parts.CbCrLoss, {"color_type": "l2", **REGION}),
    "magnitude": (parts.ChromaMagnitudeLoss, {"color_type": "l2", **REGION}),
    "hue": (parts.HueLoss, {"hue_detach": False, **REGION}),
    "saturation": (parts.SaturationLoss, {"color_type": "l2", **REGION}),
    "bias": (parts.ChromaBiasLoss, {"color_type": "l2", **REGION}),
    "lab": (parts.LabLoss, {"lab_space": "oklab", "color_type": "l2", **REGION}),
    "ssim": (parts.SSIMLoss, {}),
}


def pair(count: int = 4, side: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    first, second = torch.rand(2, count, 3, side, side, generator=torch.manual_seed(seed))
    return first, second


def everything(**options) -> ColorAwareLoss:
    return ColorAwareLoss(**{f"{name}_weight": 0.5 for name in PARTS}, **options)


def test_the_composite_equals_the_sum_of_native_losses() -> None:
    """Both ways of the plan, one composite and many native losses, are one objective."""
    weights = {name: 0.1 * (index + 1) for index, name in enumerate(PARTS)}
    options = {"rgb_type": "charbonnier", "color_type": "l2", "hue_detach": False, "lab_space": "oklab", **REGION}
    composite = ColorAwareLoss(loss_weight=2.0, **{f"{name}_weight": w for name, w in weights.items()}, **options)
    pred, target = pair()
    values = composite(pred, target)
    native = {name: cls(loss_weight=2.0 * weights[name], **kw)(pred, target) for name, (cls, kw) in PARTS.items()}
    assert list(values) == ["total", *PARTS]
    for name, value in native.items():
        assert values[name].item() == pytest.approx(value.item(), rel=1e-6), name
    assert values["total"].item() == pytest.approx(sum(value.item() for value in native.values()), rel=1e-6)


def test_gradients_of_composite_and_native_losses_agree() -> None:
    pred, target = pair()
    first, second = pred.clone().requires_grad_(), pred.clone().requires_grad_()
    ColorAwareLoss(magnitude_weight=0.5, hue_weight=0.3)(first, target)["total"].backward()
    native = [parts.RGBLoss(1.0), parts.CbCrLoss(0.25), parts.ChromaMagnitudeLoss(0.5), parts.HueLoss(0.3)]
    sum(loss(second, target) for loss in native).backward()
    assert first.grad is not None and second.grad is not None
    assert torch.allclose(first.grad, second.grad, atol=1e-8)


def test_the_rgb_part_is_the_engines_l1() -> None:
    pred, target = pair()
    assert ColorAwareLoss(cbcr_weight=0)(pred, target)["total"].item() == pytest.approx(
        torch.nn.functional.l1_loss(pred, target).item(), rel=1e-6
    )


def test_a_part_of_weight_zero_is_not_computed() -> None:
    assert set(ColorAwareLoss(rgb_weight=0, cbcr_weight=0, hue_weight=1)(*pair())) == {"total", "hue"}


def test_the_option_names_in_use_run_unchanged() -> None:
    loss = LOSS_REGISTRY.get("ColorAwareLoss")(
        loss_weight=1.0, rgb_weight=1.0, cbcr_weight=0.25, chroma_threshold=0.06, mask_type="hard", mask_strength=25.0,
        eps=1e-8,
    )  # fmt: skip
    target = torch.full((1, 3, 4, 4), 0.5)
    target[:, :, :2] = torch.tensor([0.9, 0.2, 0.2]).view(1, 3, 1, 1)
    pred = (target + 0.1 * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).requires_grad_()
    values = loss(pred, target, weight=None)
    assert values["rgb"].item() == pytest.approx(0.1 / 3, rel=1e-5)
    # Adding 0.1 to red moves Cb by -0.0169 and Cr by 0.05, averaged over the coloured half alone.
    assert values["cbcr"].item() == pytest.approx(0.25 * (0.0168736 + 0.05) / 2, rel=1e-4)
    assert torch.isfinite(torch.autograd.grad(values["total"], pred)[0]).all()


def test_a_batch_is_the_mean_of_its_images() -> None:
    """accum_iter splits a batch: the mean over equal parts must be the value of the whole."""
    pred, target = pair(4)
    target[0] = target[0].mean(dim=0)  # one image without colour must not change the others' share
    loss = everything(color_scales=[1, 4])
    whole = loss(pred, target)
    halves = [loss(pred[i : i + 2], target[i : i + 2]) for i in (0, 2)]
    for name, value in whole.items():
        assert value.item() == pytest.approx(sum(half[name].item() for half in halves) / 2, rel=1e-5), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    pred, target = (image.to(dtype) for image in pair())
    pred.requires_grad_()
    loss = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = loss(pred, target)
    assert all(value.dtype == torch.float32 for value in values.values())
    reference = loss(pred.detach().float(), target.float())
    assert values["total"].item() == pytest.approx(reference["total"].item(), rel=1e-6)
    values["total"].backward()
    assert pred.grad is not None and pred.grad.dtype == dtype and torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pred", [-0.5, 0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_grey_black_and_clipped_images_have_finite_gradients(pred: float, target: float, dtype: torch.dtype) -> None:
    image = torch.full((1, 3, 16, 16), pred, dtype=dtype, requires_grad=True)
    everything(color_scales=[1, 8])(image, torch.full((1, 3, 16, 16), target, dtype=dtype))["total"].backward()
    assert image.grad is not None and torch.isfinite(image.grad).all()


def test_washing_out_costs_more_than_an_equal_change_of_lightness() -> None:
    target = torch.rand(2, 3, 16, 16, generator=torch.manual_seed(5))
    grey = target.mean(dim=1, keepdim=True)
    washed = grey + 0.7 * (target - grey)
    lighter = target + (washed - target).abs().mean()
    plain, loss = ColorAwareLoss(cbcr_weight=0), ColorAwareLoss(magnitude_weight=0.5)
    assert plain(washed, target)["total"].item() == pytest.approx(plain(lighter, target)["total"].item(), rel=1e-4)
    assert loss(washed, target)["total"] > 1.3 * loss(lighter, target)["total"]


def test_nothing_is_learned_from_the_target_side() -> None:
    pred, target = pair()
    values = everything()(pred.requires_grad_(), target)
    assert not target.requires_grad and all(value.requires_grad for value in values.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cbcr_weight": -1}, "cbcr_weight: -1 is out of range"),
        ({"rgb_weight": 0, "cbcr_weight": 0}, "every weight is 0"),
        ({"mask_type": "round"}, "mask_type: 'round' is none of hard, sigmoid, soft"),
        ({"rgb_type": "l3"}, "rgb_type: 'l3' is none of"),
        ({"color_type": "huber"}, "color_type: 'huber' is none of"),
        ({"lab_weight": 1, "lab_space": "luv"}, "lab_space: 'luv' is none of"),
        ({"ssim_weight": 1, "ssim_type": "ms-ssim"}, "ssim_type: 'ms-ssim' is none of ssim, ms_ssim"),
        ({"color_scales": []}, "color_scales"),
        ({"color_scales": [0]}, "color_scales"),
        ({"mask_floor": 0}, "mask_floor"),
        ({"neutral_weight": 2}, "neutral_weight"),
        ({"eps": 0}, "eps: 0 is out of range"),
    ],
)
def test_a_value_out_of_range_is_named(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ColorAwareLoss(**options)


@pytest.mark.parametrize("shapes", [((1, 3, 8, 8), (1, 3, 8, 9)), ((1, 1, 8, 8), (1, 1, 8, 8)), ((3, 8, 8), (3, 8, 8))])
def test_a_wrong_shape_is_refused(shapes) -> None:
    with pytest.raises(ValueError, match=r"\(.*\)"):
        ColorAwareLoss()(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_a_missing_ssim_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    with pytest.raises(UserError, match=r"pip install basicsr\[color\]"):
        ColorAwareLoss(ssim_weight=0.1)
    ColorAwareLoss()  # without that part the package is not needed


def test_options_are_described_and_annotated() -> None:
    """The constructor is the schema of the YAML and of docs/options.md."""
    classes = [ColorAwareLoss, *(cls for cls, _ in PARTS.values())]
    for cls in classes:
        text = " ".join(base.__doc__ or "" for base in cls.__mro__ if base is not object)
        for name, parameter in inspect.signature(cls).parameters.items():
            assert parameter.annotation is not inspect.Parameter.empty, (cls, name)
            assert f"\n        {name}: " in text, (cls, name)


def test_a_tiny_network_learns_colour_with_it() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 3, 16, 16)
    source = target.mean(dim=1, keepdim=True) + 0.4 * (target - target.mean(dim=1, keepdim=True))
    network = torch.nn.Conv2d(3, 3, 1)
    optimizer, loss = torch.optim.Adam(network.parameters(), lr=0.05), everything()
    first = loss(network(source), target)["total"].item()
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(network(source), target)["total"]
        value.backward()
        optimizer.step()
    assert value.item() < 0.2 * first
