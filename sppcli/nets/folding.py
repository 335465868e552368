"""Folds layers that only scale, shift or pad into the convolutions beside them, for inference.

Batch normalisation in evaluation is a product and a sum for each channel, which the weights and the bias of the
convolution before it can take. Padding with more zeros at the right and bottom than at the left and top is padding on
all sides by the larger number, where the kernel has leading rows and columns of zeros. Results differ by rounding
alone, and neither costs a pass over the map then.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(trunk: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of ``trunk``, which is in evaluation mode, without the layers that could be folded.

    A trunk that has none comes back itself.
    """
    pairs = [pair for pair in _pairs(trunk) if _fits(*map(trunk.get_submodule, pair))]
    if not pairs:
        return trunk
    copied = copy.deepcopy(trunk).eval()  # which copying undoes
    for first, second in pairs:
        a, b = copied.get_submodule(first), copied.get_submodule(second)
        if isinstance(a, nn.ZeroPad2d):
            assert isinstance(b, nn.Conv2d)
            _replace(copied, first, nn.Identity())
            _replace(copied, second, _padding_itself(a, b))
        else:
            assert isinstance(a, nn.Conv2d)
            assert isinstance(b, nn.BatchNorm2d)
            _replace(copied, first, fuse_conv_bn_eval(a, b))
            # timm's activation is a part of the normalisation.
            activation = nn.Identity() if type(b) is nn.BatchNorm2d else b.act
            assert isinstance(activation, nn.Module)
            _replace(copied, second, activation)
    return copied.to(memory_format=torch.channels_last)


def _pairs(trunk: fx.GraphModule) -> list[tuple[str, str]]:
    """List each two layers of which the second reads the first's output, and nothing else does."""
    pairs = []
    for node in trunk.graph.nodes:
        if node.op != "call_module":
            continue
        before = node.args[0] if node.args else None
        if isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1:
            pairs.append((str(before.target), str(node.target)))
        pairs += _pairs_within(trunk.get_submodule(str(node.target)), str(node.target))
    return pairs


def _pairs_within(layer: nn.Module, name: str) -> list[tuple[str, str]]:
    """The same of a sequence that the graph calls as one layer, as torchvision's blocks are."""
    pairs = []
    for inner, part in layer.named_modules(prefix=name):
        if isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward:
            pairs += list(pairwise(f"{inner}.{child}" for child in dict(part.named_children())))
    return pairs


def _fits(a: nn.Module, b: nn.Module) -> bool:
    if isinstance(b, nn.BatchNorm2d):
        known = type(b) is nn.BatchNorm2d or (type(b).__name__ == "BatchNormAct2d" and isinstance(b.drop, nn.Identity))
        return known and type(a) is nn.Conv2d and b.track_running_stats and not b.training
    if isinstance(a, nn.ZeroPad2d) and type(b) is nn.Conv2d:
        left, right, top, bottom = a.padding
        return left == top and right == bottom and 0 <= left <= right and b.padding == (0, 0) and b.dilation == (1, 1)
    return False


def _padding_itself(pad: nn.ZeroPad2d, conv: nn.Conv2d) -> nn.Conv2d:
    before, behind = pad.padding[0], pad.padding[1]
    more = behind - before
    height, width = conv.kernel_size
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (height + more, width + more),
        (conv.stride[0], conv.stride[1]),
        behind,
        groups=conv.groups,
        bias=conv.bias is not None,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        made.weight.zero_()
        made.weight[:, :, more:, more:] = conv.weight
        if conv.bias is not None and made.bias is not None:
            made.bias.copy_(conv.bias)
    return made.requires_grad_(conv.weight.requires_grad).train(conv.training)


def _replace(trunk: fx.GraphModule, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(trunk.get_submodule(parent), own, layer)
