"""No test of this folder asks the network; a torchvision network of random weights, and an image."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from sppcli.nets.backbones import torchvision_model
from tests.nets.weight_files import BACKBONE


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache of downloads, and no connection but to this machine."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: tuple[str, int]) -> None:
        assert address[0] == "127.0.0.1", f"a test asked the network for {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return torchvision_model(BACKBONE)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1))
