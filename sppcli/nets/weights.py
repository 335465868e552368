"""Trained weights: read from files (safetensors, .pth) or downloaded by torchvision, written as safetensors.

Nothing is unpickled that could run code: .pth files are read with ``weights_only=True``. Weights that are not there
are an error; no network here ever runs on random ones (`bench` makes its own).
"""

from __future__ import annotations

import http.client
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.nets.backbones import SPECS, FcHead, Network, describe, torchvision_model, trunk_description, trunk_digest
from sppcli.nets.classifier import Architecture, SppClassifier
from sppcli.runtime.files import replacing

METADATA_KEY = "spp_network"
DEFAULT_BACKBONE = "alexnet"


def load_network(
    weights: str, backbone: str | None = None, cut: str | None = None, normalisation: str | None = None
) -> Network:
    """A network ready for `extract` and the fc layers.

    Args:
        weights: ``imagenet`` (torchvision's download, kept in torch's cache), or a path to .safetensors or .pth.
        backbone: a name of `SPECS`; None means what the file says, else alexnet.
        cut: the layer whose output is the conv map; None means the backbone's default.
        normalisation: how pixels are normalised, one of `images.INPUTS`; None means what the file says, else what
            torchvision's weights read.

    Raises:
        MissingInput: no such file, or no network connection for the download; says how to get the weights.
        BadInput: a file that cannot be read or belongs to another network.
        UsageProblem: an unknown backbone or layer.
    """
    if backbone is not None and backbone not in SPECS:
        raise UsageProblem(f"unknown backbone {backbone!r}; choose one of {', '.join(SPECS)}")
    if weights == "imagenet":
        name = backbone or DEFAULT_BACKBONE
        return _load_torchvision(
            name, _imagenet_state(name), cut, normalisation, weights, f"the ImageNet weights of {name}"
        )
    path = Path(weights)
    if not path.exists():
        raise MissingInput(
            f"{weights}: there is no such weights file; give a .safetensors or .pth file, or --weights imagenet"
        )
    state, metadata = _read_file(path)
    if METADATA_KEY in metadata:
        if backbone is not None or cut is not None or normalisation is not None:
            raise UsageProblem(f"{path} describes its own network; leave out --backbone, --cut and --input")
        return _load_own(path, state, metadata[METADATA_KEY])
    return _load_torchvision(backbone or DEFAULT_BACKBONE, state, cut, normalisation, str(path.resolve()), str(path))


def save_network(path: Path, model: SppClassifier, training: dict[str, Any]) -> None:
    """Write ``model``, its architecture and ``training`` (what made it) as one safetensors file, or nothing."""
    metadata = {METADATA_KEY: json.dumps({"architecture": model.architecture.to_json(), "training": training})}
    save_tensors(path, model.state_dict(), metadata)


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write ``tensors`` as one safetensors file, or nothing."""
    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, whatever its name.

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path}: not a readable weights file ({_reason(error)})") from None


def _read_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    metadata: dict[str, str] = {}
    state: Any
    if path.suffix == ".safetensors":
        state, metadata = read_tensors(path)
    elif path.suffix in (".pth", ".pt"):
        state = _read_pth(path)
    else:
        raise BadInput(f"{path}: weights are read from .safetensors or .pth files")
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"{path}: holds no table of tensors; save the network's state_dict()")
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    return {k: v.float() if v.is_floating_point() else v for k, v in plain.items()}, metadata


def _read_pth(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch remarks on odd pickle protocols; what matters is whether tensors come out.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{path}: not a readable weights file ({_reason(error)})") from None
    except Exception:
        # The unpickler meets arbitrary bytes: it raises UnpicklingError, KeyError, UnicodeDecodeError and more.
        # What it says helps nobody, and advises reading the file without the restriction, which would run its code.
        raise BadInput(
            f"{path}: not a weights file, a damaged one, or one that holds more than tensors; save the network's "
            "state_dict()"
        ) from None


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__


def fetch_imagenet(backbone: str) -> tuple[Path, int]:
    """The file of torchvision's ImageNet weights in torch's cache, and the bytes downloaded: 0 if it was there.

    Raises:
        MissingInput: no network connection; says what to fetch.
    """
    import torchvision

    entry = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if not kept.exists():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            hash_in_name = torch.hub.HASH_REGEX.search(kept.name)
            torch.hub.download_url_to_file(entry.url, str(kept), hash_in_name and hash_in_name[1])
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            # URLError is an OSError; a wrong hash is a RuntimeError.
            reason = _reason(getattr(error, "reason", None) or error)
            raise MissingInput(
                f"the ImageNet weights of {backbone} are not in {torch.hub.get_dir()} and could not be downloaded "
                f"({reason}); connect to the network once, or fetch {entry.url} elsewhere and pass --weights FILE"
            ) from None
        return kept, kept.stat().st_size
    return kept, 0


def _imagenet_state(backbone: str) -> dict[str, torch.Tensor]:
    kept, _ = fetch_imagenet(backbone)
    try:
        return _read_file(kept)[0]
    except BadInput as error:
        raise BadInput(f"{error}; delete it, and it is downloaded again") from None


def _load_torchvision(
    backbone: str, state: dict[str, torch.Tensor], cut: str | None, normalisation: str | None, weights: str, name: str
) -> Network:
    model = torchvision_model(backbone)
    problem = _misfit(model, state)
    if problem:
        with torch.device("meta"):  # shapes are enough, and take no time
            likely = [other for other in SPECS if other != backbone and not _misfit(torchvision_model(other), state)]
        hint = f"; it is {likely[0]}'s: pass --backbone {likely[0]}" if likely else "; choose the right --backbone"
        raise BadInput(f"{name}: not {backbone}'s weights ({problem}){hint}")
    model.load_state_dict(state)
    return describe(backbone, model, cut, weights, normalisation)


def _misfit(model: nn.Module, state: dict[str, torch.Tensor]) -> str:
    """What keeps ``state`` from being this model's weights; empty when it fits."""
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
    """A network of our own format, whole, in evaluation mode."""
    state, metadata = _read_file(path)
    if METADATA_KEY not in metadata:
        raise BadInput(f"{path}: not a network that spp wrote; its metadata has no {METADATA_KEY}")
    return _own_model(path, state, metadata[METADATA_KEY])


def initial_weights(architecture: Architecture, source: str) -> tuple[Architecture, dict[str, torch.Tensor]]:
    """What a new network can take over from trained weights: every tensor of its own name and shape.

    Args:
        architecture: of the new network.
        source: ``imagenet`` (torchvision's weights of its backbone), a network that spp wrote, or torchvision's file.

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
            raise MissingInput(f"{source}: there is no such weights file to start from")
        state, metadata = _read_file(path)
        if METADATA_KEY in metadata:
            other = _own_model(path, state, metadata[METADATA_KEY]).architecture
            architecture = replace(architecture, normalisation=other.normalisation)
            prefix = ""
            if other.classes != architecture.classes:
                state = {name: value for name, value in state.items() if not name.startswith("last.")}
    wanted = SppClassifier(architecture).state_dict()
    named = {prefix + name: value for name, value in state.items()}
    fits = {k: v for k, v in named.items() if k in wanted and wanted[k].shape == v.shape}
    # A bias without its weights is of no use.
    taken = {k: v for k, v in fits.items() if not k.endswith(".bias") or f"{k.removesuffix('bias')}weight" in fits}
    if not taken:
        raise BadInput(f"{source}: no tensor in it fits {architecture.name}; start from weights of the same network")
    return architecture, taken


def with_new_classes(
    network: Network, classes: tuple[str, ...], levels: tuple[int, ...], fc: tuple[int, ...]
) -> SppClassifier:
    """``network`` as a classifier of ``classes``: its trunk, its fc layers where it has some, and a new last layer.

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
        with safe_open(weights, framework="pt") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _own_model(path: Path, state: dict[str, torch.Tensor], description: str) -> SppClassifier:
    try:
        model = SppClassifier(Architecture.from_json(json.loads(description)["architecture"], str(path)))
    except (ValueError, KeyError, TypeError, RuntimeError, StopIteration) as error:
        # JSON that is none or lacks something, and layers that cannot be built, or are none.
        raise BadInput(
            f"{path}: the description of the network is damaged ({_reason(error)}); make the file again"
        ) from None
    problem = _misfit(model, state)
    if problem:
        raise BadInput(f"{path}: the weights do not fit the network it describes ({problem}); make the file again")
    model.load_state_dict(state)
    return model.eval()


def _load_own(path: Path, state: dict[str, torch.Tensor], description: str) -> Network:
    return network_of(_own_model(path, state, description), str(path.resolve()))


def network_of(model: SppClassifier, weights: str) -> Network:
    """``model`` as detection sees it; ``weights`` says where its weights are from."""
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
