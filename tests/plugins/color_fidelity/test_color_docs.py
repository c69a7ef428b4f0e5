"""docs/color_fidelity.md says what the code does."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml

from basicsr.engine.loss_set import LossSet
from plugins.color_fidelity.color_aware_loss import ColorAwareLoss
from plugins.color_fidelity.color_terms import region_weight
from plugins.color_science import chroma_vector

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "color_fidelity.md").read_text(encoding="utf-8")
PAINT = re.findall(
    r"^\| ([\w -]+) \| `#(\w{6})` \| ([\d.]+) \| \**([\d.]+)\** \| ([\d.]+) \| \**([\d.]+)\** \|$", TEXT, re.M
)


def test_both_forms_of_the_loss_are_the_same_number() -> None:
    forms = [yaml.safe_load(block)["train"] for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)]
    assert len(forms) == 2
    pred, target = torch.rand(2, 2, 3, 16, 16, generator=torch.manual_seed(0))
    first, second = (LossSet.from_options(form)(pred, target, 1)[0].item() for form in forms)
    assert first == pytest.approx(second, rel=1e-6)


@pytest.mark.parametrize("name", inspect.signature(ColorAwareLoss).parameters)
def test_every_option_is_explained(name: str) -> None:
    assert f"`{name}" in TEXT or f"{name}," in TEXT


def test_the_paint_table_is_what_the_masks_give() -> None:
    assert len(PAINT) == 8
    for name, code, rho, *weights in PAINT:
        colour = torch.tensor([int(code[i : i + 2], 16) for i in (0, 2, 4)]).view(1, 3, 1, 1) / 255
        assert chroma_vector(colour).norm().item() == pytest.approx(float(rho), abs=6e-4), name
        for kind, weight in zip(("hard", "sigmoid", "soft"), weights, strict=True):
            assert region_weight(colour, 0.06, kind).item() == pytest.approx(float(weight), abs=6e-3), (name, kind)  # type: ignore[arg-type]
