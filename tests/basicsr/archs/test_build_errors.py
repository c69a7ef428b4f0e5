"""A value that only the constructor can judge is a user error that names the component and the value."""

import pytest

from basicsr.archs import build_network
from basicsr.engine.errors import UserError
from basicsr.losses import build_loss


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "NAFNet", "width": 0}, ["NAFNet", "width 0", "at least 1"]),
        (
            {"type": "NAFNet", "enc_blk_nums": [1, 1], "dec_blk_nums": [1]},
            ["NAFNet", "[1, 1]", "same number of levels"],
        ),
    ],
)
def test_network_refuses_a_value(options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        build_network(options)
    assert all(word in str(caught.value) for word in words)


def test_loss_refuses_a_value() -> None:
    with pytest.raises(UserError, match="L1Loss.*reduction"):
        build_loss({"type": "L1Loss", "reduction": "median"})
