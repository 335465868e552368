"""What a Caffe network computes, read from its prototxt: conv layers, the pooling before fc6, fc layers, the input.

All three forms of layers are read: ``layer { type: "Convolution" }``, V1's ``layers { type: CONVOLUTION }`` and V0's
``layers { layer { type: "conv" } }``, which the authors' release has. Layers are followed by the names of their bottoms
and tops. Data, Dropout, Softmax, losses and Accuracy compute nothing that is kept; what our networks cannot express is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sppcli.caffe.inputs import DATA, Inputs, Pixels, data_layer, excluded, plain
from sppcli.caffe.prototxt import Block
from sppcli.errors import BadInput
from sppcli.nets.classifier import Layer

GLOBAL = 0
"""The ``size`` that stands for a pooling over the whole map."""


@dataclass(frozen=True)
class Step:
    """A conv, pooling or normalisation ``layer`` of our networks, with Caffe's name for it and whether it has a
    bias."""

    layer: Layer
    name: str
    bias: bool = True


@dataclass(frozen=True)
class Fc:
    name: str
    outputs: int
    bias: bool


@dataclass(frozen=True)
class Maps:
    """The image after ``steps``. ``bare``: a conv layer whose ReLU has not come yet, or ""."""

    steps: tuple[Step, ...] = ()
    bare: str = ""


@dataclass(frozen=True)
class Vector:
    """Maps flattened, (C, H, W) each, one after another, then through ``fc``. ``bare``: as for `Maps`."""

    parts: tuple[Maps, ...]
    fc: tuple[Fc, ...] = ()
    bare: str = ""


@dataclass(frozen=True)
class Graph:
    """A prototxt's network: its last value, and what it says of its input. ``dropout``: its first Dropout's share, or
    0."""

    path: Path
    name: str
    result: Maps | Vector
    pixels: Pixels
    dropout: float


_OUTPUTS = {"softmax", "accuracy", "silence", "argmax", "softmaxwithloss"}
_SHORT = {"conv": "convolution", "pool": "pooling"}


def read_graph(net: Block, start: Maps | Vector | None = None) -> Graph:
    """Follow the layers of ``net`` from its input, or from ``start`` where another file has computed its input.

    Raises:
        BadInput: a layer that our networks cannot express, or no layers at all; one sentence, naming it and the file.
    """
    path = net.path
    values: dict[str, Maps | Vector] = {}
    result: Maps | Vector | None = None
    inputs = Inputs(net, start is not None)
    pixels = Pixels(inputs.side)
    dropout = 0.0
    first = start if start is not None else Maps()
    if inputs.image:
        values[inputs.image] = first
    for outer in [*net.blocks("layers"), *net.blocks("layer")]:
        # V0 keeps a layer's own fields in a block inside the block of its connections.
        inner = (outer.blocks("layer") or [outer])[0]
        kind = plain(inner.text("type"))
        kind = _SHORT.get(kind, kind)
        name = inner.text("name")
        if excluded(outer):
            continue
        if kind in DATA:
            pixels = data_layer(inner, pixels)
            if inputs.image in outer.texts("top"):
                values.setdefault(inputs.image, first)
            continue
        if kind in _OUTPUTS or kind.endswith("loss"):
            continue
        layer = _LayerBlock(inner, name, kind)
        bottoms = []
        for bottom in outer.texts("bottom"):
            if bottom not in values and bottom in inputs.names:
                raise BadInput(
                    f"{path}: layer {name} reads the input {bottom!r} besides the image {inputs.image!r}; spp's "
                    "networks read one image and nothing else"
                )
            if bottom not in values:
                raise BadInput(f"{path}: layer {name} reads {bottom!r}, which no layer before it makes; mend the file")
            bottoms.append(values[bottom])
        if kind == "dropout" and not dropout:
            dropout = layer.parameters.number("dropout_ratio", 0.5)
        result = _apply(layer, bottoms)
        for top in outer.texts("top"):
            values[top] = result
    if result is None:
        raise BadInput(f"{path}: describes no layers; give the network's prototxt (a solver's names it)")
    return Graph(path, net.text("name") or path.stem, _last(list(values.values()), path), pixels, dropout)


def _last(values: Sequence[Maps | Vector], path: Path) -> Maps | Vector:
    """Return the value with the most fc layers, which must contain all others; without fc layers, the most steps."""
    vectors = [value for value in values if isinstance(value, Vector)]
    if not vectors:
        return max(
            values, key=lambda value: (len(value.steps), not value.bare) if isinstance(value, Maps) else (0, False)
        )
    last = max(vectors, key=lambda vector: len(vector.fc))
    for vector in vectors:
        if vector.fc != last.fc[: len(vector.fc)]:
            raise BadInput(
                f"{path}: has two outputs, {vector.fc[-1].name} and {last.fc[-1].name}; leave one of them out"
            )
    # If two blobs hold an fc layer's output with and without a ReLU, the one with it is taken.
    return next((v for v in vectors if len(v.fc) == len(last.fc) and v.fc and not v.bare), last)


class _LayerBlock:
    """One layer of the prototxt, and the block of its parameters."""

    def __init__(self, block: Block, name: str, kind: str) -> None:
        self.block, self.name, self.kind, self.path = block, name, kind, block.path
        names = {
            "convolution": ("convolution_param", "conv_param"),
            "pooling": ("pooling_param", "pool_param"),
            "lrn": ("lrn_param",),
            "innerproduct": ("inner_product_param",),
            "relu": ("relu_param",),
            "dropout": ("dropout_param",),
            "concat": ("concat_param",),
        }.get(kind, ())
        found = [inner for wanted in names for inner in block.blocks(wanted)]
        # V0 has the parameters among the layer's own fields.
        self.parameters = found[0] if found else block

    def refuse(self, what: str) -> BadInput:
        return BadInput(f"{self.path}: layer {self.name or '(no name)'} {what}, which spp's networks cannot express")

    def size(self, name: str, default: int | None) -> int:
        """Return a length that holds for both axes: ``name``, or ``name_h`` and ``name_w``."""
        stem = name.removesuffix("_size")
        found = [n for key in (name, f"{stem}_h", f"{stem}_w", f"{stem}size") for n in self.parameters.integers(key)]
        if len(set(found)) > 1:
            raise self.refuse(f"has a {stem} that is not the same along both axes")
        if not found and default is None:
            raise BadInput(f"{self.path}: layer {self.name} has no {name}; mend the file")
        value = found[0] if found else int(default or 0)
        if value < (0 if name == "pad" else 1):
            raise BadInput(f"{self.path}: layer {self.name} has a {name} of {value}; mend the file")
        return value

    def choice(self, name: str, *options: str) -> int:
        """Return the index of the field's value among ``options``, the first of which is the default."""
        text = self.parameters.text(name, options[0]).upper()
        if text.isdecimal() and len(text) < 19 and int(text) < len(options):
            return int(text)
        if text not in options:
            raise BadInput(f"{self.path}: layer {self.name} has a {name} of {text}; it can be {', '.join(options)}")
        return options.index(text)

    def outputs(self) -> int:
        value = self.parameters.integer("num_output", 0)
        if value < 1:
            raise BadInput(f"{self.path}: layer {self.name} has no num_output; mend the file")
        return value

    def bias(self) -> bool:
        return self.parameters.flag("bias_term", self.parameters.flag("biasterm", True))


def _apply(layer: _LayerBlock, bottoms: Sequence[Maps | Vector]) -> Maps | Vector:
    if layer.kind == "concat":
        return _concat(layer, bottoms)
    if layer.kind not in _LAYERS or len(bottoms) != 1:
        raise layer.refuse(f"is of type {layer.block.text('type') or '(none)'}")
    return _LAYERS[layer.kind](layer, bottoms[0])


def _maps(layer: _LayerBlock, value: Maps | Vector, bare: bool = False) -> Maps:
    if isinstance(value, Vector):
        raise layer.refuse("comes after the fully connected layers")
    if value.bare and not bare:
        raise layer.refuse(f"reads {value.bare} without a ReLU between")
    return value


def _convolution(layer: _LayerBlock, value: Maps | Vector) -> Maps:
    maps = _maps(layer, value)
    if any(n != 1 for n in layer.parameters.integers("dilation")):
        raise layer.refuse("is a dilated convolution")
    conv = Layer(
        "conv",
        layer.size("kernel_size", None),
        layer.size("stride", 1),
        layer.size("pad", 0),
        layer.outputs(),
        layer.parameters.integer("group", 1),
    )
    if conv.groups < 1 or conv.filters % conv.groups:
        raise BadInput(
            f"{layer.path}: layer {layer.name} has {conv.filters} outputs in {conv.groups} groups; mend the file"
        )
    return Maps((*maps.steps, Step(conv, layer.name, layer.bias())), layer.name)


def _pooling(layer: _LayerBlock, value: Maps | Vector) -> Maps:
    # Max-pooling and a ReLU can be exchanged, so that the ReLU may come after.
    maps = _maps(layer, value, bare=True)
    if layer.choice("pool", "MAX", "AVE", "STOCHASTIC"):
        raise layer.refuse(f"pools by {layer.parameters.text('pool')}")
    if layer.parameters.flag("global_pooling", False):
        return replace(maps, steps=(*maps.steps, Step(Layer("maxpool", GLOBAL), layer.name)))
    pool = Layer(
        "maxpool",
        layer.size("kernel_size", None),
        layer.size("stride", 1),
        layer.size("pad", 0),
        ceil=not layer.choice("round_mode", "CEIL", "FLOOR"),
    )
    if pool.padding > pool.size // 2:
        raise layer.refuse("pads by more than half its window")
    if pool.stride > pool.size:
        # Caffe then may add a window that lies outside the map.
        raise layer.refuse("has a stride larger than its window")
    return replace(maps, steps=(*maps.steps, Step(pool, layer.name)))


def _lrn(layer: _LayerBlock, value: Maps | Vector) -> Maps:
    maps = _maps(layer, value)
    within = bool(layer.choice("norm_region", "ACROSS_CHANNELS", "WITHIN_CHANNEL"))
    size = layer.size("local_size", 5)
    if size % 2 == 0:
        raise BadInput(f"{layer.path}: layer {layer.name} has an even local_size of {size}; Caffe has odd ones only")
    # Within a channel Caffe takes no account of k.
    if not within and layer.parameters.number("k", 1.0) != 1.0:
        raise layer.refuse(f"normalises with k = {layer.parameters.number('k', 1.0):g}")
    alpha, beta = layer.parameters.number("alpha", 1.0), layer.parameters.number("beta", 0.75)
    lrn = Layer("lrn-within" if within else "lrn-across", size, alpha=alpha, beta=beta)
    return replace(maps, steps=(*maps.steps, Step(lrn, layer.name)))


def _inner_product(layer: _LayerBlock, value: Maps | Vector) -> Vector:
    if value.bare:
        raise layer.refuse(f"reads {value.bare} without a ReLU between")
    if layer.parameters.flag("transpose", False) or layer.parameters.integer("axis", 1) != 1:
        raise layer.refuse("has its weights or axes in another order")
    vector = value if isinstance(value, Vector) else Vector((value,))
    fc = Fc(layer.name, layer.outputs(), layer.bias())
    return Vector(vector.parts, (*vector.fc, fc), layer.name)


def _relu(layer: _LayerBlock, value: Maps | Vector) -> Maps | Vector:
    if layer.parameters.number("negative_slope", 0.0):
        raise layer.refuse("is a ReLU with a slope below zero")
    if isinstance(value, Maps) and not value.steps:
        raise layer.refuse("is a ReLU on the image")
    return replace(value, bare="")


def _flatten(layer: _LayerBlock, value: Maps | Vector) -> Vector:
    return value if isinstance(value, Vector) else Vector((value,), bare=value.bare)


def _concat(layer: _LayerBlock, bottoms: Sequence[Maps | Vector]) -> Vector:
    parts: list[Maps] = []
    for value in bottoms:
        if isinstance(value, Maps) or value.fc or value.bare:
            raise layer.refuse("is a Concat of other things than flattened poolings of the last map")
        parts += value.parts
    axis = layer.parameters.integer("axis", layer.parameters.integer("concat_dim", 1))
    if axis != 1 or not parts:
        raise layer.refuse(f"is a Concat along axis {axis}")
    return Vector(tuple(parts))


def _same(layer: _LayerBlock, value: Maps | Vector) -> Maps | Vector:
    return value


_LAYERS: Mapping[str, Callable[[_LayerBlock, Maps | Vector], Maps | Vector]] = {
    "convolution": _convolution,
    "pooling": _pooling,
    "lrn": _lrn,
    "innerproduct": _inner_product,
    "relu": _relu,
    "flatten": _flatten,
    "dropout": _same,
    "split": _same,
}
