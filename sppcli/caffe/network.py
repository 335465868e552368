"""Turns a Caffe network into ours: the prototxt becomes an `Architecture`, the .caffemodel's blobs become weights.

What changes on the way:

- fc6 reads Caffe's vectors, channel by channel and in a channel row by row; ours have channels fastest. Its columns
  are re-ordered.
- A single pooling before fc6 becomes the architecture's ``pool``; poolings that are flattened and concatenated become
  its pyramid, in their order. A pyramid's bins are Appendix A's, as in the release's detection code; where Caffe's
  pooling layers cover other cells of the map of the training input, `Imported.notes` says so.
- The last fc layer is the classifier. The channels stay in BGR order, and so does the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np
import torch

from sppcli.caffe.caffemodel import Blob, Blobs
from sppcli.caffe.graph import GLOBAL, Fc, Graph, Maps, Step, Vector, read_graph
from sppcli.caffe.inputs import COLOUR_ONLY
from sppcli.caffe.prototxt import read_prototxt
from sppcli.errors import BadInput, UsageProblem
from sppcli.images import Normalisation
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.pyramid import bins_in


@dataclass(frozen=True)
class Imported:
    """``notes``: a sentence for each way in which the network pools otherwise than Caffe at its input size."""

    model: SppClassifier
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """``steps``: the trunk's layers; ``parts``: the pooling of each part of fc6's vector, or () if ``levels`` are
    given."""

    path: Path
    steps: tuple[Step, ...]
    pools: tuple[Layer, ...]
    levels: tuple[int, ...]
    cells: int
    channels: int
    fc: tuple[Fc, ...]


def read_graphs(paths: Sequence[Path]) -> tuple[Graph, Graph]:
    """Read the part of the network with the trunk and the part with the fc layers, from one file or two.

    Raises:
        UsageProblem: more than two files.
        MissingInput, BadInput: see `read_prototxt` and `read_graph`.
    """
    if len(paths) not in (1, 2):
        raise UsageProblem(f"--prototxt names {len(paths)} files; give one, or the conv part and then the fc part")
    trunk = read_graph(read_prototxt(paths[0]))
    if len(paths) == 1:
        return trunk, trunk
    # Where the first file has fc layers of its own, the second's take their place: what counts is the vector they read.
    found = trunk.result
    start = Vector(found.parts) if isinstance(found, Vector) else Vector((found,), bare=found.bare)
    return trunk, read_graph(read_prototxt(paths[1]), start)


def refuse_other_channels(trunk: Graph, blobs: Blobs) -> None:
    """Refuse a network whose weights show that it reads grey images, or any but images of three channels.

    Raises:
        BadInput: it does not read three channels.
    """
    maps = trunk.result if isinstance(trunk.result, Maps) else trunk.result.parts[0]
    first = next((step for step in maps.steps if step.layer.kind == "conv"), None)
    found = blobs.get(first.name) if first else None
    if first is None or not found or len(found[0].shape) != 4:
        return
    channels = found[0].shape[1] * first.layer.groups
    if channels != 3:
        what = "one channel, grey images" if channels == 1 else f"{channels} channels"
        raise BadInput(f"{found[0].path}: layer {first.name} reads {what}; {COLOUR_ONLY}")


def import_network(
    graphs: tuple[Graph, Graph],
    blobs: Blobs,
    normalisation: Normalisation,
    *,
    side: int | None = None,
    levels: tuple[int, ...] = (),
    classes: Sequence[str] | None = None,
) -> Imported:
    """Build the network and fill it.

    Args:
        graphs: from `read_graphs`.
        blobs: from `read_caffemodel`, of one file or several.
        side: of the training input in pixels; None for what the prototxt says.
        levels: of the pyramid that fc6 reads, in order, where the prototxt does not say; () otherwise.
        classes: names of the outputs; None for ``class_0000`` and so on.

    Raises:
        BadInput: a layer cannot be expressed, or weights are missing or do not fit; the text names the layer and the
            file.
        UsageProblem: the pyramid or the side of the input is not known, or is given twice.
    """
    trunk, head = graphs
    side = side or trunk.pixels.side
    if side is None:
        raise UsageProblem(f"{trunk.path} does not say how large its input is; give --side, such as 227")
    plan = _plan(trunk, head, side, levels)
    last = plan.fc[-1]
    if classes is not None and len(classes) != last.outputs:
        raise BadInput(
            f"{head.path}: layer {last.name} has {last.outputs} outputs, but --classes names {len(classes)} classes"
        )
    state = _Weights(blobs, plan).state()
    single = levels == () and len(plan.pools) == 1 and plan.pools[0].size != GLOBAL
    architecture = Architecture(
        name=trunk.name,
        layers=tuple(step.layer for step in plan.steps),
        pyramid=() if single else plan.levels,
        fc=tuple(fc.outputs for fc in plan.fc[:-1]),
        classes=tuple(classes or (f"class_{i:04d}" for i in range(last.outputs))),
        normalisation=normalisation,
        input_size=side,
        pool=plan.pools[0] if single else None,
        dropout=head.dropout,
    )
    model = SppClassifier(architecture)
    model.load_state_dict(state)
    return Imported(model.eval(), _notes(plan))


def _plan(trunk: Graph, head: Graph, side: int, levels: tuple[int, ...]) -> _Plan:
    vector = head.result
    if isinstance(vector, Maps) or not vector.fc:
        raise BadInput(
            f"{head.path}: has no InnerProduct layer; give the part with the fc layers as a second --prototxt"
        )
    if not vector.bare:
        raise BadInput(
            f"{head.path}: ends with the ReLU of {vector.fc[-1].name}, without a classifier; give the complete prototxt"
        )
    first = vector.parts[0]
    ends_in_pool = bool(first.steps) and first.steps[-1].layer.kind == "maxpool"
    if len(vector.parts) > 1:
        if levels:
            raise UsageProblem(f"{trunk.path} says which pyramid fc6 reads; leave out --pyramid")
        if not ends_in_pool or any(part.steps[:-1] != first.steps[:-1] for part in vector.parts):
            raise BadInput(
                f"{trunk.path}: joins other things than poolings of one map before {vector.fc[0].name}; "
                "give a network without these"
            )
        steps, pools = first.steps[:-1], tuple(part.steps[-1].layer for part in vector.parts)
        if not all(part.steps[-1].layer.kind == "maxpool" for part in vector.parts):
            raise BadInput(
                f"{trunk.path}: joins other things than poolings of one map before {vector.fc[0].name}; "
                "give a network without these"
            )
    elif levels:
        steps, pools = first.steps, ()
    elif ends_in_pool:
        steps, pools = first.steps[:-1], (first.steps[-1].layer,)
    elif head is not trunk:
        raise UsageProblem(
            f"{trunk.path} ends at the conv maps; give --pyramid, the levels that {vector.fc[0].name} reads in their "
            "order (the release's networks were trained with 1,2,3,6)"
        )
    else:
        steps, pools = first.steps, (Layer("maxpool", 1, 1),)
    cells, channels = _trunk_size(steps, side, trunk.path)
    if not levels:
        levels = tuple(_pooled(cells, pool) for pool in pools)
    return _Plan(trunk.path, steps, pools, levels, cells, channels, vector.fc)


def _trunk_size(steps: Sequence[Step], side: int, path: Path) -> tuple[int, int]:
    """Return side and channels of the last map; refuse a trunk that `build_trunk` cannot build."""
    cells, channels = side, 3
    seen: set[str] = set()
    for step in steps:
        layer = step.layer
        if layer.kind == "conv":
            if channels % layer.groups:
                raise BadInput(
                    f"{path}: layer {step.name} reads {channels} channels in {layer.groups} groups; mend the file"
                )
            channels, seen = layer.filters, set()
            cells = (cells + 2 * layer.padding - layer.size) // layer.stride + 1
        elif layer.size == GLOBAL or layer.kind in seen or (layer.kind.startswith("lrn") and "lrn" in seen):
            raise BadInput(
                f"{path}: layer {step.name} is a second of its kind after one conv layer, or a pooling of the whole "
                "map, which spp's networks cannot express"
            )
        else:
            seen.add(layer.kind[:3] if layer.kind.startswith("lrn") else layer.kind)
            cells = _pooled(cells, layer) if layer.kind == "maxpool" else cells
        if cells < 1:
            raise BadInput(f"{path}: an input of {side} pixels is too small for layer {step.name}")
    if not any(step.layer.kind == "conv" for step in steps):
        raise BadInput(f"{path}: has no conv layers")
    return cells, channels


def _pooled(cells: int, pool: Layer) -> int:
    """Return Caffe's size of a pooled map: the last window may reach over the border, but must begin inside it."""
    if pool.size == GLOBAL:
        return 1
    span = cells + 2 * pool.padding - pool.size
    if not pool.ceil:
        return span // pool.stride + 1
    windows = ceil(span / pool.stride) + 1
    return windows - 1 if pool.padding and (windows - 1) * pool.stride >= cells + pool.padding else windows


def _notes(plan: _Plan) -> tuple[str, ...]:
    notes = []
    for pool, n in zip(plan.pools, plan.levels, strict=False):
        cells = plan.cells
        caffe = [(0, cells)]
        if pool.size != GLOBAL:
            starts = [i * pool.stride - pool.padding for i in range(n)]
            caffe = [(max(start, 0), min(start + pool.size, cells)) for start in starts]
        bins = [(i * cells // n, -(-(i + 1) * cells // n)) for i in range(n)]
        if caffe != bins:
            i = next(i for i in range(n) if caffe[i] != bins[i])
            notes.append(
                f"{plan.path}: over the {cells} x {cells} map of its input, pooling window {i} of {n} is cells "
                f"{caffe[i][0]} to {caffe[i][1] - 1}, and spp's bin is {bins[i][0]} to {bins[i][1] - 1}"
            )
    return tuple(notes)


class _Weights:
    """Caffe's blobs as our tensors, each checked against what the prototxt says."""

    def __init__(self, blobs: Blobs, plan: _Plan) -> None:
        self.blobs, self.plan = blobs, plan

    def state(self) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = {}
        channels, number = 3, 0
        for step in self.plan.steps:
            if step.layer.kind != "conv":
                continue
            number += 1
            layer = step.layer
            shape = (layer.filters, channels // layer.groups, layer.size, layer.size)
            self._take(state, f"trunk.conv{number}", step.name, shape, step.bias)
            channels = layer.filters
        width = bins_in(self.plan.levels) * channels
        for index, fc in enumerate(self.plan.fc):
            key = f"fc.fc{index + 6}" if fc is not self.plan.fc[-1] else "last"
            self._take(state, key, fc.name, (fc.outputs, width), fc.bias)
            if index == 0:
                state[f"{key}.weight"] = _channels_fastest(state[f"{key}.weight"], self.plan.levels, channels)
            width = fc.outputs
        return state

    def _take(
        self, state: dict[str, torch.Tensor], key: str, name: str, shape: tuple[int, ...], has_bias: bool
    ) -> None:
        found = self.blobs.get(name)
        if found is None:
            near = ", ".join(list(self.blobs)[:12])
            paths = " and ".join(dict.fromkeys(str(blob.path) for layer in self.blobs.values() for blob in layer))
            raise BadInput(f"{paths}: no weights of layer {name} of {self.plan.path}; there are those of {near}")
        if len(found) != 1 + has_bias:
            raise BadInput(
                f"{found[0].path}: layer {name} has {len(found)} arrays, not {1 + has_bias} as {self.plan.path} says"
            )
        state[f"{key}.weight"] = self._tensor(found[0], name, shape, "weights")
        bias = self._tensor(found[1], name, shape[:1], "a bias") if has_bias else torch.zeros(shape[0])
        state[f"{key}.bias"] = bias

    def _tensor(self, blob: Blob, name: str, shape: tuple[int, ...], what: str) -> torch.Tensor:
        # Old versions of Caffe gave every blob four lengths: a bias was 1 x 1 x 1 x n, fc weights 1 x 1 x out x in.
        written = (*([1] * (len(shape) - len(blob.shape))), *blob.shape)
        extra, written = written[: len(written) - len(shape)], written[len(written) - len(shape) :]
        if written != shape or set(extra) - {1} or len(blob.values) != prod(shape):
            if len(blob.values) != prod(blob.shape):
                problem = f"of shape {blob.shape} but {len(blob.values):,} numbers"
            else:
                problem = f"of shape {blob.shape}, not {shape} as {self._read_from(name)}"
            raise BadInput(f"{blob.path}: layer {name} has {what} {problem}")
        return torch.from_numpy(np.array(blob.values, dtype=np.float32)).reshape(shape)

    def _read_from(self, name: str) -> str:
        if name != self.plan.fc[0].name:
            return f"{self.plan.path} says"
        levels = ", ".join(f"{n} x {n}" for n in self.plan.levels)
        return f"{levels} bins of {self.plan.channels} channels in {self.plan.path} need"


def _channels_fastest(weight: torch.Tensor, levels: Sequence[int], channels: int) -> torch.Tensor:
    """Re-order the columns of ``weight`` (out, sum of C * n * n): (C, n, n) of each level -> (n, n, C)."""
    parts = torch.split(weight, [channels * n * n for n in levels], dim=1)
    ordered = [
        part.reshape(-1, channels, n, n).permute(0, 2, 3, 1).flatten(1) for part, n in zip(parts, levels, strict=True)
    ]
    return torch.cat(ordered, dim=1)
