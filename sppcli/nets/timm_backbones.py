"""timm's networks as backbones, by the name ``timm/NAME``; timm comes with ``pip install 'sppcli[timm]'``.

A network is cut after its last stage of stride 16 where it has one. TensorFlow's "same" padding, which depends on the
parity of the image's sides, becomes that of even sides, as in `efficientnet_lite`.
"""

from __future__ import annotations

import difflib
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

from sppcli.errors import MissingInput, UsageProblem
from sppcli.images import Normalisation
from sppcli.nets.backbones import BackboneSpec

_STRIDE = 16
_SAME: dict[str, type[nn.Module]] = {
    "Conv2dSame": nn.Conv2d,
    "MaxPool2dSame": nn.MaxPool2d,
    "AvgPool2dSame": nn.AvgPool2d,
}
_OTHERS_SAME = ("StdConv2dSame", "ScaledStdConv2dSame")


@cache
def spec_of(name: str) -> BackboneSpec:
    """Describe ``timm/NAME``.

    Raises:
        MissingInput: timm is not installed.
        UsageProblem: timm has no such network, or it has no stage of stride 16 to cut after by default.
    """
    timm = _timm(name)
    own = name.removeprefix("timm/")
    with torch.device("meta"):  # its description is enough, and takes no time
        model: Any = _build(timm, own)
    layers = timm.layers
    stages = [stage["module"] for stage in getattr(model, "feature_info", []) if stage["reduction"] == _STRIDE]
    if not stages:
        raise UsageProblem(f"{name} has no stage of stride {_STRIDE}: its maps are no use here; choose another network")
    settings = model.pretrained_cfg
    return BackboneSpec(
        partial(_build, timm, own),
        cut=stages[-1],
        normalisation=Normalisation(_three(settings["mean"]), _three(settings["std"])),
        installed=partial(_cached, name, dict(settings)),
        leaves={
            "leaf_modules": layers.get_notrace_modules(),
            "autowrap_functions": layers.get_notrace_functions(),
        },
        finish=partial(_with_even_padding, name),
    )


def _timm(name: str) -> ModuleType:
    if find_spec("timm") is None:
        raise MissingInput(f"{name} is timm's, which is not installed; run pip install 'sppcli[timm]'")
    return import_module("timm")


def _build(timm: ModuleType, name: str) -> nn.Module:
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        hint = f"did you mean {' or '.join(f'timm/{other}' for other in near)}?" if near else "see timm.list_models()"
        raise UsageProblem(f"timm has no network {name!r}; {hint}")
    try:
        model: nn.Module = timm.create_model(name, pretrained=False)
    except RuntimeError as error:  # another tag of weights than there are
        raise UsageProblem(f"timm has no network {name!r}: {error}") from None
    return model.eval()


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _cached(name: str, settings: dict[str, Any]) -> Path:
    """Return the file of timm's weights in the cache of Hugging Face, whence timm loads them; nothing is downloaded."""
    own = name.removeprefix("timm/")
    repository = settings.get("hf_hub_id")
    if not repository:
        raise UsageProblem(f"timm has no trained weights of {own}; give --weights FILE")
    if find_spec("huggingface_hub") is not None:
        hub = import_module("huggingface_hub")
        for file in (settings.get("hf_hub_filename"), "model.safetensors", "pytorch_model.bin"):
            found = hub.try_to_load_from_cache(repository, file) if file else None
            if isinstance(found, str):
                return Path(found)
    raise MissingInput(
        f"the weights of {name} are not in the cache of Hugging Face, and spp does not download them; run python -c "
        f"\"import timm; timm.create_model('{own}', pretrained=True)\" once with a network connection, or give "
        "--weights FILE with its state dict"
    )


def _with_even_padding(name: str, trunk: fx.GraphModule) -> fx.GraphModule:
    """Replace layers of TensorFlow's padding by one that pads and one that does not; parameters keep their names."""
    for node in list(trunk.graph.nodes):
        layer: Any = trunk.get_submodule(str(node.target)) if node.op == "call_module" else None
        kind = type(layer).__name__
        if kind in _OTHERS_SAME or "pad_same" in str(node.target):
            raise UsageProblem(f"{name}: the padding of {node.name} depends on the size of the image; cut earlier")
        if layer is None or kind not in _SAME:
            continue
        plain = _plain(layer, _SAME[kind])
        total = [int(k) - int(s) for k, s in zip(_pair(layer.kernel_size), _pair(layer.stride), strict=True)]
        if min(total) < 0 or len(set(total)) != 1 or set(_pair(getattr(layer, "dilation", 1))) != {1}:
            raise UsageProblem(
                f"{name}: the padding of layer {node.target} is not the same along both axes; cut earlier"
            )
        before, behind = total[0] // 2, total[0] - total[0] // 2
        sides = (before, behind, before, behind)
        pad = f"{str(node.target).replace('.', '_')}_pad"
        nothing = -torch.inf if isinstance(plain, nn.MaxPool2d) else 0.0
        trunk.add_module(pad, nn.ConstantPad2d(sides, nothing) if nothing else nn.ZeroPad2d(sides))
        parent, _, own = str(node.target).rpartition(".")
        setattr(trunk.get_submodule(parent), own, plain)
        with trunk.graph.inserting_before(node):
            padded = trunk.graph.call_module(pad, (node.args[0],))
        node.args = (padded, *node.args[1:])
    trunk.recompile()
    return trunk


def _plain(layer: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """``layer`` as torch's own ``kind``, with the same parameters and without padding."""
    plain = kind.__new__(kind)
    plain.__dict__ = layer.__dict__
    return plain


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
