"""Trained weights are read from files (`weight_files`), found in installed packages (`packages`) or downloaded by
torchvision, and written as safetensors.

`fitting` finds the network's tensors in a file. Missing weights are an error: no network here ever runs on random ones
(`bench` makes its own).
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sppcli.errors import BadArtefact, BadInput, MissingInput, UsageProblem
from sppcli.nets.backbones import (
    SPECS,
    FcHead,
    Network,
    cut_trunk,
    describe,
    torchvision_model,
    trunk_description,
    trunk_digest,
)
from sppcli.nets.classifier import Architecture, SppClassifier
from sppcli.nets.fitting import Fit, Wanted, fit
from sppcli.nets.packages import INSTALLED_INSTEAD
from sppcli.nets.weight_files import WRITTEN_BY, read_weights, reason, save_tensors
from sppcli.paper import DEFAULT
from sppcli.runtime import tensor_files

METADATA_KEY = "spp_network"


def load_network(
    weights: str,
    backbone: str | None = None,
    cut: str | None = None,
    normalisation: str | None = None,
    *,
    whole_images: bool = False,
) -> Network:
    """Load a network for `extract` and the fc layers.

    Args:
        weights: ``imagenet`` (torchvision's download, kept in torch's cache, or what an installed package holds), or a
            path to .safetensors or .pth.
        backbone: a name of `SPECS`; None means what the file says or the one that its tensors fit, and for ``imagenet``
            that of the default recipe.
        cut: the layer whose output is the conv map; None means the backbone's default, which need not be the same for
            regions and for ``whole_images``.
        normalisation: how pixels are normalised, one of `images.INPUTS`; None means what the file says, else what
            torchvision's weights read.

    Raises:
        MissingInput: there is no such file, or no network connection for the download; the text says how to get the
            weights.
        BadInput: a file that cannot be read or belongs to another network.
        UsageProblem: an unknown backbone or layer.
    """
    if backbone is not None and backbone not in SPECS:
        raise UsageProblem(f"unknown backbone {backbone!r}; choose one of {', '.join(SPECS)}")
    if weights == "imagenet":
        name = backbone or DEFAULT.backbone
        cut = cut or (SPECS[name].image_cut if whole_images else None)
        found = _imagenet_state(name)
        where = f"the ImageNet weights of {name}"
        return _network(name, _fitting(name, cut, found, where), cut, normalisation, weights)
    path = Path(weights)
    if not path.exists():
        raise MissingInput(
            f"{weights}: there is no such weights file; give a .safetensors or .pth file, or --weights imagenet"
        )
    found, metadata = read_weights(path)
    if METADATA_KEY in metadata:
        if backbone is not None or cut is not None or normalisation is not None:
            raise UsageProblem(f"{path} describes its own network; leave out --backbone, --cut and --input")
        return _load_own(path, found, metadata[METADATA_KEY])
    name = backbone or _recognised(path, cut, found)
    cut = cut or (SPECS[name].image_cut if whole_images else None)
    fitted = _fitting(name, cut, found, str(path))
    note = "" if backbone else f"recognised as {name}"
    if not fitted.plain:
        note = (note or f"read as {name}") + fitted.where_from
    notes = (f"{path}: {note}",) if note else ()
    return _network(name, fitted, cut, normalisation, str(path.resolve()), notes)


def save_network(path: Path, model: SppClassifier, training: dict[str, Any]) -> None:
    """Write ``model``, its architecture and ``training`` (what made it) as one safetensors file, or nothing."""
    metadata = {METADATA_KEY: json.dumps({"architecture": model.architecture.to_json(), "training": training})}
    save_tensors(path, model.state_dict(), metadata)


def fetch_imagenet(backbone: str) -> tuple[Path, int]:
    """Return the file of ImageNet weights in torch's cache or in a package, and the bytes downloaded, perhaps 0.

    Raises:
        MissingInput: there is no network connection or no such package; the text says what to fetch.
        BadInput: the package holds another file than it should.
        UsageProblem: nobody offers ImageNet weights of this backbone.
    """
    installed = SPECS[backbone].installed
    if installed is not None:
        return installed(), 0
    address = SPECS[backbone].url
    if address is None:
        raise UsageProblem(f"there are no ImageNet weights of {backbone} to download; give --weights FILE")
    url = address()
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not kept.exists():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            hash_in_name = torch.hub.HASH_REGEX.search(kept.name)
            torch.hub.download_url_to_file(url, str(kept), hash_in_name and hash_in_name[1])
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            # URLError is an OSError; a wrong hash is a RuntimeError.
            said = reason(getattr(error, "reason", None) or error)
            raise MissingInput(
                f"the ImageNet weights of {backbone} are not in {torch.hub.get_dir()} and could not be downloaded "
                f"({said}); connect to the network once, or fetch {url} elsewhere and pass --weights FILE, or "
                f"{INSTALLED_INSTEAD}"
            ) from None
        return kept, kept.stat().st_size
    return kept, 0


def _imagenet_state(backbone: str) -> dict[str, torch.Tensor]:
    kept, _ = fetch_imagenet(backbone)
    try:
        return read_weights(kept)[0]
    except BadInput as error:
        raise BadInput(f"{error}; delete it, and it is downloaded again") from None


def _wanted(backbone: str, cut: str | None) -> Wanted:
    with torch.device("meta"):  # shapes are enough, and take no time
        model = torchvision_model(backbone)
        spec = SPECS[backbone]
        return Wanted.of(model, cut_trunk(model, backbone, cut or spec.cut), spec.other_names)


def _fits(cut: str | None, found: Mapping[str, torch.Tensor], where: str) -> dict[str, Fit]:
    """Return every backbone's reading of ``found``; one without the layer ``cut`` is cut at its own default."""
    fits = {}
    for name in SPECS:
        try:
            wanted = _wanted(name, cut)
        except UsageProblem:
            wanted = _wanted(name, None)
        fits[name] = fit(wanted, found, where)
    return fits


def _fitting(backbone: str, cut: str | None, found: Mapping[str, torch.Tensor], where: str) -> Fit:
    """Read ``found`` as ``backbone``'s weights; an error names the tensor that does not fit, and backbones that
    would."""
    fitted = fit(_wanted(backbone, cut), found, where)
    if fitted.problem:
        likely = [name for name, other in _fits(cut, found, where).items() if not other.problem]
        hint = (
            f"it is {likely[0]}'s: pass --backbone {likely[0]}"
            if len(likely) == 1
            else f"they fit {' and '.join(likely)}: pass one of them as --backbone"
            if likely
            else f"they fit none of {', '.join(SPECS)}: give other weights, or choose the right --backbone"
        )
        raise BadInput(f"{where}: not {backbone}'s weights ({fitted.problem}); {hint}")
    return fitted


def _recognised(path: Path, cut: str | None, found: Mapping[str, torch.Tensor]) -> str:
    """Return the one backbone whose weights ``found`` are."""
    fits = _fits(cut, found, str(path))
    whole = [name for name, fitted in fits.items() if not fitted.problem]
    if len(whole) > 1:
        raise BadInput(f"{path}: the weights fit {' and '.join(whole)}; pass one of them as --backbone")
    if not whole:
        nearest = max(fits, key=lambda name: fits[name].matched)
        raise BadInput(
            f"{path}: the weights fit none of {', '.join(SPECS)}; the nearest is {nearest}, but "
            f"{fits[nearest].problem}; give weights of one of these, or a network of spp train-net or spp import-caffe"
        )
    return whole[0]


def _network(
    backbone: str,
    fitted: Fit,
    cut: str | None,
    normalisation: str | None,
    weights: str,
    notes: tuple[str, ...] = (),
) -> Network:
    """Build the network whose trunk, and whose fc layers as far as they are there, are ``fitted``'s tensors."""
    model = torchvision_model(backbone)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    absent: dict[str, str] = {}
    for layer, path in SPECS[backbone].head_layers:
        lacking = [name for name in (f"{path}.weight", f"{path}.bias") if name not in fitted.tensors]
        if lacking or absent:
            name = lacking[0] if lacking else ""
            problem = f"no {name} of shape {wanted[name]}" if name else f"no {next(iter(absent))} before it"
            absent[layer] = f"{weights} has {problem}"
    model.load_state_dict(dict(fitted.tensors), strict=False)
    return describe(backbone, model, cut, weights, normalisation, absent=absent, notes=notes)


def _misfit(model: nn.Module, state: dict[str, torch.Tensor]) -> str:
    """Say why ``state`` is not the weights of ``model``; "" when it is."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    if missing:
        return f"{missing[0]} is missing"
    wrong = [key for key in wanted if state[key].shape != wanted[key].shape]
    if wrong:
        return f"{wrong[0]} has shape {tuple(state[wrong[0]].shape)}, not {tuple(wanted[wrong[0]].shape)}"
    unknown = [key for key in state if key not in wanted]
    return f"{unknown[0]} is not a tensor of it" if unknown else ""


def read_classifier(path: Path) -> SppClassifier:
    """Read a network that spp wrote, complete with its head, in evaluation mode."""
    state, metadata = read_weights(path)
    if METADATA_KEY not in metadata:
        raise BadInput(f"{path}: not a network that spp wrote; its metadata has no {METADATA_KEY}")
    return _own_model(path, state, metadata[METADATA_KEY])


def initial_weights(architecture: Architecture, source: str) -> tuple[Architecture, dict[str, torch.Tensor]]:
    """Collect what a new network can take over from trained weights: every tensor of its own name and shape.

    Args:
        architecture: of the new network.
        source: ``imagenet`` (torchvision's weights of its backbone), a network that spp wrote, or another file, in
            which the trunk's tensors are found as by `load_network`.

    Returns:
        The architecture, with the source's normalisation of pixels where it is a network of ours, and the tensors by
        name. The last layer is taken over only if the classes are the same.

    Raises:
        MissingInput, BadInput, UsageProblem: as `load_network`, or nothing fits.
    """
    prefix = "trunk."
    if source == "imagenet":
        if not architecture.backbone:
            raise UsageProblem(
                f"there are no ImageNet weights of {architecture.name} to download; give --init FILE, or train one of "
                f"{', '.join(SPECS)}"
            )
        state = _imagenet_state(architecture.backbone)
    else:
        path = Path(source)
        if not path.exists():
            raise MissingInput(f"{source}: there is no such weights file to start from; correct --init")
        state, metadata = read_weights(path)
        if METADATA_KEY in metadata:
            other = _own_model(path, state, metadata[METADATA_KEY]).architecture
            architecture = replace(architecture, normalisation=other.normalisation)
            prefix = ""
            if other.classes != architecture.classes:
                state = {name: value for name, value in state.items() if not name.startswith("last.")}
    model = SppClassifier(architecture)
    wanted = model.state_dict()
    named: Mapping[str, torch.Tensor] = state
    if prefix:
        of_trunk = (
            _wanted(architecture.backbone, architecture.cut)
            if architecture.backbone
            else Wanted.of(model.trunk, model.trunk)
        )
        named = {prefix + name: value for name, value in fit(of_trunk, state, source).tensors.items()}
    fits = {k: v for k, v in named.items() if k in wanted and wanted[k].shape == v.shape}
    # A bias is of no use without its weights.
    taken = {k: v for k, v in fits.items() if not k.endswith(".bias") or f"{k.removesuffix('bias')}weight" in fits}
    if not taken:
        raise BadInput(f"{source}: no tensor in it fits {architecture.name}; start from weights of the same network")
    return architecture, taken


def with_new_classes(
    network: Network, classes: tuple[str, ...], levels: tuple[int, ...], fc: tuple[int, ...]
) -> SppClassifier:
    """Make ``network`` a classifier of ``classes``: its trunk, its fc layers where it has some, and a new last layer.

    Args:
        levels, fc: pyramid and widths of new fc layers, for a network that has none.

    The last layer's weights are drawn with a deviation of 0.01, its biases 0 (paper); new fc layers as in training from
    scratch. torch's random state decides.
    """
    head = network.head if network.head and network.head.layers else None
    widths = tuple(len(bias) for _, bias in head.layers.values()) if head else fc
    if network.backbone in SPECS:
        architecture = Architecture(
            network.backbone,
            (),
            head.levels if head else levels,
            widths,
            classes,
            network.normalisation,
            network.input_size,
            network.backbone,
            network.cut,
        )
    else:
        own = read_classifier(Path(network.weights)).architecture
        architecture = (
            replace(own, fc=widths, classes=classes)
            if head
            else replace(own, pyramid=levels, pool=None, fc=widths, classes=classes)
        )
    model = SppClassifier(architecture)
    model.trunk.load_state_dict(network.trunk.state_dict())
    for name, layer in _linear(model).items():
        if head:
            layer.load_state_dict(dict(zip(("weight", "bias"), head.layers[name], strict=True)))
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(model.last.weight, std=0.01)
    nn.init.zeros_(model.last.bias)
    return model


def describes_itself(weights: str) -> bool:
    """Whether ``weights`` is a network that spp wrote: its file says which backbone, cut and input it has."""
    try:
        return METADATA_KEY in tensor_files.read_metadata(Path(weights), tensors=False).values
    except OSError:
        return False
    except BadArtefact as error:
        raise BadInput(f"{error}; {WRITTEN_BY}") from None


def _own_model(path: Path, state: dict[str, torch.Tensor], description: str) -> SppClassifier:
    if '"detector":' in description:
        raise BadInput(
            f"{path}: a detector of spp train-detector, which only spp detect --network reads; give another network"
        )
    try:
        model = SppClassifier(Architecture.from_json(json.loads(description)["architecture"], str(path)))
    except (ValueError, KeyError, TypeError, RuntimeError, StopIteration) as error:
        # The text is no JSON or lacks a field, or its layers are none or cannot be built.
        raise BadInput(
            f"{path}: the description of the network is damaged ({reason(error)}); make the file again"
        ) from None
    problem = _misfit(model, state)
    if problem:
        raise BadInput(f"{path}: the weights do not fit the network it describes ({problem}); make the file again")
    model.load_state_dict(state)
    return model.eval()


def _load_own(path: Path, state: dict[str, torch.Tensor], description: str) -> Network:
    return network_of(_own_model(path, state, description), str(path.resolve()))


def network_of(model: SppClassifier, weights: str) -> Network:
    """Return ``model`` as detection needs it; ``weights`` says where its weights are from."""
    architecture = model.architecture
    layers = {name: (layer.weight.detach(), layer.bias.detach()) for name, layer in _linear(model).items()}
    if architecture.backbone:
        description = trunk_description(architecture.backbone, architecture.cut, architecture.normalisation)
    else:
        description = f"{architecture.layers} {architecture.normalisation}"
    return Network(
        architecture.name,
        architecture.cut or list(dict(model.trunk.named_children()))[-1],
        weights,
        model.trunk,
        model.grid(),
        model.channels,
        architecture.normalisation,
        architecture.input_size,
        model.cells,
        trunk_digest(model.trunk, description),
        FcHead(model.levels, layers),
        model.levels,
        architecture.classes,
    )


def _linear(model: SppClassifier) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in model.fc.items() if isinstance(layer, nn.Linear)}
