import random

import numpy as np
import torch

from basicsr.engine import checkpoint, rng


def _draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist()


def test_generators_go_on_after_a_trip_through_a_file(tmp_path):
    rng.seed_all(5)
    _draw()  # leaves half a pair of normal numbers in python's and numpy's caches
    checkpoint.save_state(tmp_path / "1.state", {"iter": 1, "run": rng.capture()})
    expected = [_draw() for _ in range(3)]
    rng.seed_all(99)
    rng.restore(checkpoint.load_state(tmp_path / "1.state")["run"])
    assert [_draw() for _ in range(3)] == expected


def test_a_seed_beyond_numpys_range_is_accepted():
    rng.seed_all(2**32 + 3)
    first = _draw()
    rng.seed_all(2**32 + 3)
    assert _draw() == first
