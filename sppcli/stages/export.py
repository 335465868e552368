"""A trained network as an ONNX file, which is compared with torch before it is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sppcli import __version__
from sppcli.artefacts.overwriting import ONNX, claim
from sppcli.artefacts.packs import PACK_SUFFIX
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.nets.onnx_graph.needed import check_installed
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.options import USUAL, RunOptions

if TYPE_CHECKING:
    from sppcli.detection.exporting import Exportable
    from sppcli.nets.backbones import Network

TOLERANCE = 1e-3
"""Largest difference to torch at which a file is written, of scores, probabilities and, in proportion to the largest
number, maps; a hundredth of a pixel for boxes."""
_SIZES = ((150, 220), (261, 190), (101, 99))


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """``trunk``: the conv layers alone; ``scale``: shorter side that a trunk reads images at, None: as they come.

    ``backbone``, ``weights``, ``cut``, ``normalisation``: as for `spp extract`, of a trunk that is in no model file;
    ``weights`` of SVMs: where their network is now.
    """

    trunk: bool = False
    scale: int | None = None
    backbone: str | None = None
    weights: str | None = None
    cut: str | None = None
    normalisation: str | None = None


@dataclass(frozen=True)
class ExportSummary:
    """``differences``: the largest between onnxruntime and torch, by output, on random images."""

    path: Path
    bytes: int
    kind: str
    classes: tuple[str, ...]
    inputs: tuple[str, ...]
    differences: dict[str, float]


@announces_compiling
def run(
    source: Path | None, output: Path | None, config: ExportConfig, *, options: RunOptions = USUAL
) -> ExportSummary:
    """Write the network of ``source`` as ONNX; None: the trunk that ``config`` names. ``output``: by default the
    source's name with another ending.

    Raises:
        UsageProblem: a package is not installed, or the model has what ONNX has not; nothing is written.
        MissingInput, BadInput, StaleArtefact: a file is not there, not readable, or belongs to another.
    """
    check_installed()
    target = output or _default_name(source, config)
    read = [] if source is None or source.is_dir() else [source]
    read += [Path(config.weights)] if config.weights and Path(config.weights).exists() else []
    claim(target, ONNX, inputs=read, overwrite=options.overwrite)
    from sppcli.nets.onnx_graph.files import packed_bytes, save

    options.progress.note("writing the network as ONNX")
    made = _exportable(source, config)
    facts = {"made_by": f"spp export {__version__}", **_origin(source), **made.facts}
    content = packed_bytes(made.graph.model(facts))
    options.progress.note("comparing onnxruntime with torch")
    differences = _compare(content, made)
    save(target, content)
    inputs = ("image", "boxes") if made.regions else ("image",)
    return ExportSummary(target, len(content), made.kind, made.classes, inputs, differences)


def _default_name(source: Path | None, config: ExportConfig) -> Path:
    if source is None:
        return Path(f"{(config.backbone or Path(config.weights or 'network').stem).replace('/', '-')}.onnx")
    return Path("detector.onnx" if source.is_dir() or source.suffix == ".h5" else f"{source.stem}.onnx")


def _origin(source: Path | None) -> dict[str, str]:
    """Which file it was, without the folder, and its SHA-256."""
    if source is None:
        return {}
    files = [source / "svm.h5", source / "bbox.h5"] if source.is_dir() else [source]
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()]
    names = [path.name for path in files if path.exists()]
    return {"source": ", ".join(names), "source_sha256": ", ".join(sums)}


def _exportable(source: Path | None, config: ExportConfig) -> Exportable:
    """What ``source`` holds, or the trunk that ``config`` names."""
    from sppcli.detection import exporting

    if source is None:
        network = _network(config.weights or "imagenet", config)
        return exporting.trunk(network, config.scale, network.backbone)
    if not source.exists():
        raise MissingInput(f"{source}: there is no such file; name one of spp train-detector, train-net or pack")
    if source.suffix == PACK_SUFFIX:
        return _packed(source, config)
    if source.is_dir() or source.suffix == ".h5":
        return _models(source, config)
    return _network_file(source, config)


def _network(weights: str, config: ExportConfig) -> Network:
    from sppcli.nets.weights import load_network

    return load_network(weights, config.backbone, config.cut, config.normalisation)


def _network_file(source: Path, config: ExportConfig) -> Exportable:
    """A network of ours, or weights of another program."""
    from sppcli.detection import exporting
    from sppcli.nets.detector import load_detector
    from sppcli.nets.weight_files import read_weights
    from sppcli.nets.weights import METADATA_KEY, read_classifier

    _refuse(source, config, ("weights",))
    described = read_weights(source)[1].get(METADATA_KEY, "")
    if '"detector":' in described:
        _refuse(source, config, ("backbone", "cut", "normalisation", "trunk", "scale"))
        model, made, _ = load_detector(source)
        return exporting.joint(model, made, str(source))
    if described and not config.trunk:
        _refuse(source, config, ("backbone", "cut", "normalisation", "scale"))
        return exporting.classification(read_classifier(source), str(source))
    return exporting.trunk(_network(str(source), config), config.scale, str(source))


def _packed(source: Path, config: ExportConfig) -> Exportable:
    from sppcli.detection import exporting
    from sppcli.detection.packing import load_pack

    _refuse(source, config, ("backbone", "cut", "normalisation", "weights"))
    if not config.trunk:
        _refuse(source, config, ("scale",))
    packed = load_pack(source)
    if packed.joint:
        _refuse(source, config, ("trunk",))
        made = exporting.joint(packed.joint[0], packed.joint[1], str(source))
    elif len(packed.models) > 1:
        raise UsageProblem(f"{source} holds {len(packed.models)} networks, and an ONNX file holds one; pack each alone")
    elif config.trunk:
        made = exporting.trunk(packed.networks[0], config.scale, str(source))
    else:
        made = exporting.linear_models(packed.models[0], packed.networks[0], None)
    if packed.about["licence"]:
        made.facts["licence"] = str(packed.about["licence"])
    return made


def _models(source: Path, config: ExportConfig) -> Exportable:
    from sppcli.detection import exporting
    from sppcli.detection.models import ModelPaths, read_models

    _refuse(source, config, ("backbone", "cut", "normalisation", "trunk", "scale"))
    plain = ModelPaths.in_folder(source if source.is_dir() else source.parent)
    paths = plain if source.is_dir() else ModelPaths(plain.features, source, plain.bbox)
    return exporting.linear_models(read_models([paths], "auto", ())[0], None, config.weights)


_FLAGS = {"normalisation": "--input"}


def _refuse(source: Path, config: ExportConfig, names: tuple[str, ...]) -> None:
    """Raises UsageProblem: an option was given that has no meaning for ``source``."""
    for name in names:
        if getattr(config, name) not in (None, False):
            raise UsageProblem(f"{_FLAGS.get(name, f'--{name}')} has no meaning for {source}; leave it out")


def _compare(content: bytes, made: Exportable) -> dict[str, float]:
    """The largest difference between onnxruntime and torch, by output, on random images of two sizes.

    Raises:
        BadInput: it is more than `TOLERANCE`.
    """
    from sppcli.nets.onnx_graph.files import Session

    session = Session(content)
    rng = np.random.default_rng(0)
    worst: dict[str, float] = {}
    for height, width in [(made.side, made.side)] if made.side else _SIZES:
        image = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        image = np.ascontiguousarray(image.repeat(8, 0).repeat(8, 1)[:height, :width])
        corners = np.sort(rng.random((40, 2, 2)), axis=1).reshape(-1, 4) * [width, height, width, height]
        windows = corners.astype(np.float32)
        found = session.run({"image": image, **({"boxes": windows} if made.regions else {})})
        for name, expected in made.reference(image, windows).items():
            unit = 10.0 if name == "corrected_boxes" else max(1.0, float(np.abs(expected).max(initial=0)))
            difference = float(np.abs(found[name] - expected).max(initial=0))
            if not difference <= TOLERANCE * unit:
                raise BadInput(
                    f"onnxruntime computes other {name} than torch (by {difference:g}), so that nothing was written; "
                    "try another version of onnxruntime, or another backbone"
                )
            worst[name] = max(worst.get(name, 0.0), difference)
    return worst
