"""A whole detector in one safetensors file: networks, SVMs, box regression, calibration, how proposals are found.

Nothing in it says where anything lay: it detects on any machine, without the data, and finds the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sppcli import __version__
from sppcli.artefacts.calibration import CalibrationFile, arrays_of, calibration_of
from sppcli.artefacts.models import BoxModel, FeatureRecord, SvmModel
from sppcli.artefacts.packs import PACK_FORMAT, PACK_KEY
from sppcli.artefacts.store import Header, digest_of
from sppcli.detection.models import Model
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.nets.backbones import Network
from sppcli.nets.detector import DetectorArchitecture, SppDetector
from sppcli.nets.packed import Tensors, packed_network, unpacked_network
from sppcli.nets.weight_files import read_tensors, save_tensors

_AGAIN = "make it again with spp pack"
_BOX_ARRAYS = ("weights", "biases", "unwhiten", "means", "trained")


@dataclass(frozen=True)
class PackedDetector:
    """What is in a file of `spp pack`: ``models`` over ``networks``, or ``joint``, a network of `spp train-detector`
    with its settings and what made it. ``about``: licence, version and digests, for people.
    """

    path: Path
    models: tuple[Model, ...]
    networks: tuple[Network, ...]
    joint: tuple[SppDetector, dict[str, Any], dict[str, Any]] | None
    calibration: CalibrationFile | None
    about: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Of what made the detector, whatever file it came in."""
        if self.joint:
            return str(self.joint[2]["fingerprint"])
        return digest_of([model.header.fingerprint for pair in self.models for model in pair if model is not None])


def save_models(
    path: Path,
    models: Sequence[Model],
    networks: Sequence[Network],
    calibration: CalibrationFile | None,
    licence: str,
) -> None:
    """Write ``models`` and the network of each, or nothing.

    Raises:
        UsageProblem: region proposals that a model file on this machine finds the edges for.
    """
    tensors: Tensors = {}
    described = []
    for number, (pair, network) in enumerate(zip(models, networks, strict=True)):
        _check_proposals(pair.svm.header.summary["proposals"], pair.svm.path)
        own, description = _packed_model(pair, network)
        tensors |= {f"{number}.{name}": value for name, value in own.items()}
        described.append(description)
    _save(path, tensors, {"models": described}, calibration, licence)


def save_joint(
    path: Path,
    joint: tuple[SppDetector, Mapping[str, Any], Mapping[str, Any]],
    calibration: CalibrationFile | None,
    licence: str,
) -> None:
    """Write a network of `spp train-detector`, or nothing."""
    model, settings, training = joint
    _check_proposals(settings["proposals"], path)
    splits = {name: training["config"][name] for name in ("split", "validation")}
    described = {
        "architecture": asdict(model.architecture),
        "settings": dict(settings),
        "training": {"fingerprint": training["fingerprint"], "config": splits},
    }
    tensors = {f"detector.{name}": value for name, value in model.state_dict().items()}
    _save(path, tensors, {"detector": described}, calibration, licence)


def load_pack(path: Path) -> PackedDetector:
    """Read a file of `spp pack`; every byte of it is checked.

    Raises:
        MissingInput, BadInput: there is no such file, it is another, or it is damaged.
    """
    if not path.exists():
        raise MissingInput(f"{path}: there is no such file; make it with spp pack -o {path.name}")
    tensors, metadata = read_tensors(path, _AGAIN, ours=True)
    if PACK_KEY not in metadata:
        raise BadInput(f"{path}: not a detector that spp pack made; give such a file, or a folder with svm.h5")
    try:
        value = json.loads(metadata[PACK_KEY])
        if value["format"] != PACK_FORMAT:
            raise BadInput(f"{path}: format {value['format']}, this version of spp reads {PACK_FORMAT}; {_AGAIN}")
        return _unpacked(path, tensors, value)
    except (KeyError, TypeError, ValueError, RuntimeError, StopIteration) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{path}: its description is damaged ({said}); {_AGAIN}") from None


def _check_proposals(settings: Mapping[str, Any], where: Path) -> None:
    if settings.get("edge_model"):
        raise UsageProblem(
            f"{where} cannot be packed: its region proposals need a structured forest, which is a file of its own; "
            "propose with --edges gradient and train again"
        )


def _save(
    path: Path, tensors: Tensors, described: dict[str, Any], calibration: CalibrationFile | None, licence: str
) -> None:
    if calibration:
        known, header = calibration.calibration, calibration.header
        tensors |= {f"calibration.{name}": torch.from_numpy(values) for name, values in arrays_of(known).items()}
        described["calibration"] = {
            "classes": list(known.classes),
            "methods": [one.method for one in known.maps],
            "config": header.config,
            "inputs": header.inputs,
        }
    about = {"format": PACK_FORMAT, "made_by": f"spp pack {__version__}", "licence": licence}
    save_tensors(path, tensors, {PACK_KEY: json.dumps({**about, **described}, sort_keys=True)})


def _packed_model(pair: Model, network: Network) -> tuple[Tensors, dict[str, Any]]:
    svm, bbox = pair
    layers = [model.record.layer for model in pair if model is not None and model.record.layer != "pool5"]
    tensors, description = packed_network(network, max(layers, default="pool5"))  # fc7 needs fc6 too
    tensors |= {"svm.weights": torch.from_numpy(svm.weights), "svm.biases": torch.from_numpy(svm.biases)}
    found: dict[str, Any] = {"network": description, "svm": _described(svm)}
    summary = svm.header.summary
    found["svm"]["summary"] = {name: summary[name] for name in ("scales", "precision", "proposals")}
    if bbox:
        tensors |= {f"bbox.{name}": torch.from_numpy(getattr(bbox, name)) for name in _BOX_ARRAYS}
        found["bbox"] = _described(bbox)
    return tensors, found


def _described(model: SvmModel | BoxModel) -> dict[str, Any]:
    header = model.header
    return {
        "classes": list(model.classes),
        "features": model.record.to_json(),
        "config": header.config,
        "inputs": header.inputs,
        "fingerprint": header.fingerprint,
    }


def _unpacked(path: Path, tensors: Tensors, value: Mapping[str, Any]) -> PackedDetector:
    joint = None
    models, networks = [], []
    if "detector" in value:
        described = value["detector"]
        model = SppDetector(DetectorArchitecture.from_json(described["architecture"]))
        model.load_state_dict(_below(tensors, "detector."))
        joint = (model.eval(), dict(described["settings"]), dict(described["training"]))
    for number, described in enumerate(value.get("models", ())):
        own = _below(tensors, f"{number}.")
        networks.append(unpacked_network(own, described["network"], str(path)))
        models.append(_unpacked_model(path, own, described))
    calibration = None
    if "calibration" in value:
        arrays = {name: tensor.numpy() for name, tensor in _below(tensors, "calibration.").items()}
        said = value["calibration"]
        header = Header("calibration", said["config"], said["inputs"])
        logit = said["config"]["scores"] == "probability"
        calibration = CalibrationFile(
            path, header, calibration_of(said["classes"], said["methods"], arrays, logit), None
        )
    about = {name: value[name] for name in ("format", "made_by", "licence")}
    return PackedDetector(path, tuple(models), tuple(networks), joint, calibration, about)


def _unpacked_model(path: Path, tensors: Tensors, value: Mapping[str, Any]) -> Model:
    said = value["svm"]
    svm = SvmModel(
        path,
        Header("svm", said["config"], said["inputs"], {}, said["summary"]),
        FeatureRecord.from_json(said["features"]),
        tuple(said["classes"]),
        tensors["svm.weights"].numpy(),
        tensors["svm.biases"].numpy(),
    )
    if "bbox" not in value:
        return Model(svm, None)
    said = value["bbox"]
    header = Header("bbox", said["config"], said["inputs"])
    arrays = {name: tensors[f"bbox.{name}"].numpy() for name in _BOX_ARRAYS}
    record = FeatureRecord.from_json(said["features"])
    return Model(svm, BoxModel(path, header, record, tuple(said["classes"]), **arrays))


def _below(tensors: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
