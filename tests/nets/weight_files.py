"""Weights files that tests write, good and bad, and what a network makes of an image."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch
from torch import nn

from sppcli.nets.backbones import run_trunk
from sppcli.nets.weights import load_network

BACKBONE = "squeezenet1_1"  # the smallest: 5 MB


def features(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.features(image)


def maps_of(path: Path, image: torch.Tensor, backbone: str = BACKBONE) -> torch.Tensor:
    with torch.inference_mode():
        return run_trunk(load_network(str(path), backbone).trunk, image)


def legacy(state: dict) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def archive(state: dict) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def trapped(marker: Path, form: str) -> bytes:
    value = {"features.0.weight": torch.zeros(3), "extra": Trap(marker)}
    return {"archive": archive, "legacy": legacy, "pickle": pickle.dumps}[form](value)
