"""Reads what a prototxt says of a network's inputs: which one is the image, its side, and how pixels are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sppcli.caffe.prototxt import Block
from sppcli.errors import BadInput

DATA = {"data", "input", "imagedata", "images", "memorydata", "hdf5data", "windowdata", "dummydata"}
COLOUR_ONLY = "spp's networks read the three channels of colour images; give a network that was trained on those"


@dataclass(frozen=True)
class Pixels:
    """What the prototxt says of the input's pixels; None or empty where it says nothing. ``mean`` is in its order
    (BGR)."""

    side: int | None = None
    mean: tuple[float, ...] = ()
    mean_file: str = ""
    scale: float = 1.0


def plain(kind: str) -> str:
    return kind.lower().replace("_", "")


def excluded(layer: Block) -> bool:
    """Whether Caffe leaves the layer out in its TEST phase."""
    includes = [rule.text("phase").upper() for rule in layer.blocks("include")]
    excludes = [rule.text("phase").upper() for rule in layer.blocks("exclude")]
    return bool(includes and not {"TEST", "1", ""} & set(includes)) or bool({"TEST", "1"} & set(excludes))


class Inputs:
    """The inputs that a prototxt declares in fields of the network or in layers that read data.

    ``names`` of all, with the shape of each where it is said; ``image``: the first whose shape is an image's, else the
    first of unknown shape, else the first; ``side`` of it in pixels, where the network's own fields say so. Where
    another file has ``computed`` the input, vectors count as it too.
    """

    def __init__(self, net: Block, computed: bool) -> None:
        self.names: dict[str, list[int]] = {}
        dims, shapes = net.integers("input_dim"), net.blocks("input_shape")
        declared = net.texts("input") or ([""] if dims or shapes else [])
        for i, name in enumerate(declared):
            shape = shapes[i].integers("dim") if i < len(shapes) else dims[4 * i : 4 * i + 4]
            self.names.setdefault(name, shape)
        for outer in [*net.blocks("layers"), *net.blocks("layer")]:
            inner = (outer.blocks("layer") or [outer])[0]
            if plain(inner.text("type")) in DATA and not excluded(outer):
                said = _shapes_of_data(inner)
                for i, top in enumerate(outer.texts("top")):
                    self.names.setdefault(top, said[i] if i < len(said) else [])
        images = [name for name, shape in self.names.items() if len(shape) == 4 and not shape[2] == shape[3] == 1]
        unknown = [name for name, shape in self.names.items() if not shape]
        self.image = next(iter((*([] if computed else (*images, *unknown)), *self.names)), "")
        self.side = _side(self.names.get(self.image, []), net.path) if self.image in declared else None


def _shapes_of_data(layer: Block) -> list[list[int]]:
    """Return the shapes of a data layer's tops, as far as it says them; the batch is 1 where it does not."""
    said = [
        shape.integers("dim")
        for name in ("input_param", "dummy_data_param")
        for block in layer.blocks(name)
        for shape in block.blocks("shape")
    ]
    for block in layer.blocks("memory_data_param"):
        said.append([block.integer("batch_size", 1), *(block.integer(n, 0) for n in ("channels", "height", "width"))])
    return said


def _side(dims: Sequence[int], path: Path) -> int | None:
    """Return the side of an image input of shape (N, 3, side, side); None for others, such as pooled vectors."""
    if len(dims) != 4 or dims[2] == dims[3] == 1:
        return None
    if dims[1] == 1:
        raise BadInput(f"{path}: the input is {tuple(dims[1:])}, grey images; {COLOUR_ONLY}")
    if dims[1] != 3 or dims[2] != dims[3]:
        raise BadInput(f"{path}: the input is {tuple(dims[1:])}; spp's networks read three channels of a square image")
    return dims[2]


def data_layer(layer: Block, known: Pixels) -> Pixels:
    """Add what a layer that reads images says of their pixels; of several such layers the last one counts."""
    sides = [side for shape in _shapes_of_data(layer) if (side := _side(shape, layer.path)) is not None]
    side = sides[0] if sides else None
    mean: Sequence[float] = ()
    mean_file, scale = known.mean_file, known.scale
    # V0 has these among the layer's own fields, V1 in the data's block, or as now in transform_param.
    homes = ("transform_param", "data_param", "image_data_param", "window_data_param")
    for home in (layer, *(block for name in homes for block in layer.blocks(name))):
        if home.flag("force_gray", False) or not home.flag("is_color", True):
            raise BadInput(f"{layer.path}: layer {layer.text('name')} reads grey images; {COLOUR_ONLY}")
        side = home.integer("crop_size", home.integer("cropsize", 0)) or side
        mean = home.numbers("mean_value") or mean
        mean_file = home.text("mean_file") or home.text("meanfile") or mean_file
        scale = home.number("scale", scale)
    return Pixels(side or known.side, tuple(mean) or known.mean, mean_file, scale)
