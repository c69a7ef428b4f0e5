"""Every test begins with the same random numbers, whichever tests ran before it in its process."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed before fixtures are made, so that these do not depend on the order either."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
