"""The conv rows: what is counted, what is compared, on images that take no time."""

from __future__ import annotations

import pytest
import torch

from sppcli.bench.conv import rows
from sppcli.bench.measure import Machine
from sppcli.bench.networks import random_network, with_torchs_normalisation
from sppcli.bench.operations import conv_operations
from sppcli.nets.local import for_inference


def test_floor_is_the_operations_of_all_scales() -> None:
    machine = Machine(1, {"fp32": 1e9, "bf16": 4e9}, 1e9)
    table = rows(machine, (40, 50), ((96,), (96, 112)), repeat=1)
    trunk = random_network("zf5").trunk
    one = conv_operations(trunk, 96, 120)
    both = one + conv_operations(trunk, 112, 140)
    assert [row.floor for row in table] == pytest.approx([one / 1e9, both / 1e9, one / 4e9, both / 4e9])
    assert [row.what.split()[-1] for row in table] == ["fp32", "fp32", "bf16", "bf16"]
    assert all(row.seconds > 0 and row.peer_seconds for row in table)


def test_the_peer_computes_the_same_where_torch_has_the_normalisation() -> None:
    trunk = random_network("convnet5").trunk
    peer = with_torchs_normalisation(trunk)
    assert any(isinstance(layer, torch.nn.LocalResponseNorm) for layer in peer)
    images = torch.rand(1, 3, 99, 131, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(for_inference(trunk)(images), peer(images), rtol=1e-4, atol=1e-6)
