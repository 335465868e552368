"""Conv layers as ONNX, written by torch's own exporter for images of any size."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import onnx
import torch
from torch import nn

from sppcli.errors import UsageProblem
from sppcli.nets.onnx_graph.builder import OPSET
from sppcli.nets.weight_files import reason

_SAMPLE = (227, 291)
"""Height and width of the image that is traced; nothing that is written depends on them. They divide by no stride."""


class _Called(nn.Module):
    """A function over the parameters of ``owner`` as a module, which is what torch exports."""

    def __init__(self, owner: nn.Module, function: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
        super().__init__()
        self.owner = owner
        self.function = function

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return self.function(pixels)


def conv_layers(owner: nn.Module, function: Callable[[torch.Tensor], list[torch.Tensor]], name: str) -> onnx.ModelProto:
    """What ``function`` makes of normalised images (1, 3, H, W) with the parameters of ``owner``, as a model of its
    own; ``name`` appears in errors.

    Raises:
        UsageProblem: torch cannot write one of its layers as ONNX, or not for images of any size.
    """
    called = _Called(owner, function).eval()
    sample = torch.zeros(1, 3, *_SAMPLE)
    sides = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    said = io.StringIO()
    loud = logging.root.manager.disable
    try:
        # It tells of every step, and warns of what it will do otherwise one day.
        logging.disable(logging.WARNING)
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said), torch.no_grad():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                called, (sample,), dynamo=True, dynamic_shapes=(sides,), opset_version=OPSET, verbose=False
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        # Its own text is a page of advice to whoever wrote the network.
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise UsageProblem(f"{name}: torch cannot write it as ONNX ({reason(cause)}); take another backbone") from None
    finally:
        logging.disable(loud)
    assert made is not None
    model = made.model_proto
    if not all(item.dim_param for item in model.graph.input[0].type.tensor_type.shape.dim[2:]):
        raise UsageProblem(f"{name}: torch writes it as ONNX for images of one size only; take another backbone")
    return model
