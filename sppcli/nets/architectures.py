"""The networks of the paper's Table 1, with a pyramid or as the baseline without, and SPP heads on torchvision trunks.

Padding is chosen so that the last map of a 224 input has the size the table gives. Where the table leaves it open:

- ZF-5 is the release's: padding 1 at conv1, 0 at conv2; within-channel normalisation (3, 5e-5, 0.75) before each
  pooling; Caffe's ceil mode. 224 -> 13, 180 -> 10. Stride 16, first centre 20 (golden case ``mapping``).
- Convnet*-5 has AlexNet's padding (2, 2, 1, 1, 1) and normalisation across channels (5, 1e-4, 0.75), pooling without
  ceil mode as AlexNet's. 224 -> 13, 180 -> 10.
- Overfeat-5 and -7: padding 1 at conv1, half the kernel elsewhere; pooling without ceil mode. 224 -> 18, 180 -> 14.
  Normalisation across channels as AlexNet's (the table names none).

Pixels are normalised to mean 0 and deviation 1 per channel; Caffe's networks read 0..255 minus the mean. The constants
of the response normalisation are Caffe's all the same, so that it does little on such inputs; `caffe` inputs restore
its effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sppcli.errors import UsageProblem
from sppcli.images import INPUTS
from sppcli.nets.backbones import SPECS
from sppcli.nets.classifier import Architecture, Layer


@dataclass(frozen=True)
class Table1:
    """A network of the table.

    ``side``: side of its training inputs; ``fc``: widths of fc6, fc7; ``pool``: the baseline's last pooling.
    """

    layers: tuple[Layer, ...]
    pool: Layer
    side: int = 224
    fc: tuple[int, ...] = (4096, 4096)


def _conv(filters: int, size: int, stride: int = 1, padding: int | None = None) -> Layer:
    return Layer("conv", size, stride, size // 2 if padding is None else padding, filters)


_ACROSS = Layer("lrn-across", 5, alpha=1e-4)
_WITHIN = Layer("lrn-within", 3, alpha=5e-5)
_OVERFEAT = (
    _conv(96, 7, 2, 1),
    Layer("maxpool", 3, 3, ceil=False),
    _ACROSS,
    _conv(256, 5),
    Layer("maxpool", 2, 2, ceil=False),
)

TABLE_1: Mapping[str, Table1] = {
    "zf5": Table1(
        (
            _conv(96, 7, 2, 1),
            _WITHIN,
            Layer("maxpool", 3, 2),
            _conv(256, 5, 2, 0),
            _WITHIN,
            Layer("maxpool", 3, 2),
            _conv(384, 3),
            _conv(384, 3),
            _conv(256, 3),
        ),
        Layer("maxpool", 3, 2),
    ),
    "convnet5": Table1(
        (
            _conv(96, 11, 4, 2),
            _ACROSS,
            _conv(256, 5),
            _ACROSS,
            Layer("maxpool", 3, 2, ceil=False),
            _conv(384, 3),
            Layer("maxpool", 3, 2, ceil=False),
            _conv(384, 3),
            _conv(256, 3),
        ),
        Layer("maxpool", 3, 2),
    ),
    "overfeat5": Table1((*_OVERFEAT, *[_conv(512, 3)] * 3), Layer("maxpool", 3, 3)),
    "overfeat7": Table1((*_OVERFEAT, *[_conv(512, 3)] * 5), Layer("maxpool", 3, 3)),
    # The paper's proportions for images of 36 pixels: a 13 x 13 map for 32, 10 x 10 for 26 (224 : 180).
    "tiny": Table1(
        (
            _conv(32, 5, 1, 0),
            Layer("maxpool", 3, 2, ceil=False),
            _conv(64, 3),
            _conv(64, 3),
            _conv(64, 3),
        ),
        Layer("maxpool", 3, 2),
        side=32,
        fc=(256, 256),
    ),
}

NAMES = (*TABLE_1, *SPECS)


def architecture(
    name: str,
    classes: Sequence[str],
    pyramid: Sequence[int] = (6, 3, 2, 1),
    *,
    side: int | None = None,
    fc: Sequence[int] | None = None,
    cut: str | None = None,
    normalisation: str | None = None,
    dropout: float = 0.5,
) -> Architecture:
    """Describe a network by its name, with a pyramid; an empty ``pyramid`` gives the baseline of a network of Table 1.

    Args:
        name: one of `NAMES`.
        classes: names of the outputs.
        side: side of the square training inputs; None for the network's own, which is 224 except for ``tiny``.
        fc: widths of fc6, fc7 …; None for the network's own, 4096 and 4096; () for none.
        cut: of a torchvision network, the layer after which the pyramid stands; None for its default.
        normalisation: one of `images.INPUTS`; None for the network's own.
        dropout: share of the outputs of each fc layer that training drops.

    Raises:
        UsageProblem: an unknown name, or a baseline of a torchvision network.
    """
    if name not in TABLE_1 and name not in SPECS:
        raise UsageProblem(f"unknown network {name!r}; choose one of {', '.join(NAMES)}")
    table = TABLE_1.get(name)
    if table is None and not pyramid:
        raise UsageProblem(f"{name}: only {', '.join(TABLE_1)} have a baseline without a pyramid; give --pyramid")
    if cut is not None and table is not None:
        raise UsageProblem(f"{name}: --cut is for torchvision's networks; this one is cut after its last conv layer")
    widths = table.fc if table else (4096, 4096)
    return Architecture(
        name=name,
        layers=table.layers if table else (),
        pyramid=tuple(pyramid),
        fc=tuple(widths if fc is None else fc),
        classes=tuple(classes),
        normalisation=INPUTS[normalisation or "imagenet"] if table or normalisation else SPECS[name].pixels,
        input_size=side or (table.side if table else 224),
        backbone="" if table else name,
        cut="" if table else cut or SPECS[name].cut,
        pool=table.pool if table and not pyramid else None,
        dropout=dropout,
    )
