"""Devices that a test runs on: the CPU always, a GPU where there is one (elsewhere the test says that it skips it)."""

import pytest
import torch

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
]
