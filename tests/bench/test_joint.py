"""The rows of a detector of one network: what is counted, and that the peer computes the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppcli.bench.joint import _drawn, _example, _with_torchvisions, rows
from sppcli.bench.measure import Machine
from sppcli.bench.operations import conv_operations
from sppcli.nets.backbones import cut_trunk, torchvision_model


def test_floors_count_what_is_run_and_what_learns() -> None:
    machine = Machine(1, {"fp32": 1e9}, 1e9)
    step, detect = rows(machine, (64, 96), rois=12, windows=30, backbone="squeezenet1_0", repeat=1)
    model = _drawn("squeezenet1_0")
    trunk = conv_operations(model.trunk, 64, 96)
    height, width = model.maps(torch.zeros(1, 3, 64, 96))[0].shape[2:]
    reduce = 512 * 128 * height * width
    fc = 14 * 128 * 512 + 512 * 512 + 512 * (21 + 80)
    number = int(detect.what.split(" region")[0].split(", ")[-1])
    assert detect.floor == pytest.approx((trunk + reduce + number * fc) / 1e9)
    number = int(step.what.split(" RoIs")[0].split(", ")[-1])
    early = conv_operations(cut_trunk(torchvision_model("squeezenet1_0"), "squeezenet1_0", "features.5"), 64, 96)
    # Up to features.5 forwards alone; what follows for both gradients too, but for what the first trained layer reads.
    unread = 256 * 32 * height * width
    expected = early + 3 * (trunk - early) - unread + 3 * (reduce + number * fc)
    assert step.floor == pytest.approx(expected / 1e9)
    assert step.peer_seconds


def test_the_peer_computes_the_same() -> None:
    model = _drawn("squeezenet1_0")
    example = _example(np.random.default_rng(0), (64, 96), 6)
    ours, theirs = (m.pooled(m.maps(example.image), example.rois) for m in (model, _with_torchvisions(model)))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
