"""svm.h5 and bbox.h5: linear models, and a record of how their features are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.features import Features, NetworkRecord, RcnnRecord
from sppcli.artefacts.shards import shard_of
from sppcli.artefacts.store import Artefact, Header, create, described, open_artefact
from sppcli.artefacts.validity import checked_values
from sppcli.errors import StaleArtefact
from sppcli.structures import BoolArray, FloatArray


@dataclass(frozen=True)
class FeatureRecord:
    """How a model's features are made from conv maps, or with ``rcnn`` from single regions, as in R-CNN.

    ``slack``: see `geometry.projection.CellGrid`; ``scale_rule`` and ``window_side`` (pixels): see
    `choose_scale` there; ``normalize`` and ``factor``: see `features.normalise.Normaliser`.
    ``head_digest``: SHA-256 of the fc layers, "" for pool5; ``svd``: their ranks if they were truncated (see
    `nets.compression`); ``precision``: fp32, or bf16, in which they run.
    """

    network: NetworkRecord
    layer: str
    levels: tuple[int, ...]
    scale_rule: str
    window_side: float
    slack: float
    normalize: str
    factor: float
    head_digest: str = ""
    rcnn: RcnnRecord | None = None
    svd: tuple[int, ...] = ()
    precision: str = "fp32"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureRecord:
        network = NetworkRecord.from_json(value["network"])
        rcnn = RcnnRecord.from_json(value["crops"]) if value.get("crops") else None
        lists = {"levels": tuple(value["levels"]), "svd": tuple(value.get("svd", ()))}
        fields = {name: item for name, item in value.items() if name != "crops"}
        return cls(**{**fields, **lists, "network": network, "rcnn": rcnn})

    def to_json(self) -> dict[str, Any]:
        """The fields under the names that files have for them."""
        fields = asdict(self)
        del fields["rcnn"]
        return {
            **fields,
            "network": self.network.to_json(),
            "levels": list(self.levels),
            "svd": list(self.svd),
            "crops": self.rcnn and self.rcnn.to_json(),
        }


@dataclass(frozen=True)
class SvmModel:
    """One row per class: score = ``weights`` (K, D) @ x + ``biases`` (K,)."""

    path: Path
    header: Header
    record: FeatureRecord
    classes: tuple[str, ...]
    weights: FloatArray
    biases: FloatArray


@dataclass(frozen=True)
class BoxModel:
    """``weights`` (K, 4, D), ``biases`` (K, 4), ``unwhiten`` (K, 4, 4), ``means`` (K, 4), ``trained`` (K,) bool."""

    path: Path
    header: Header
    record: FeatureRecord
    classes: tuple[str, ...]
    weights: FloatArray
    biases: FloatArray
    unwhiten: FloatArray
    means: FloatArray
    trained: BoolArray

    @property
    def box_width(self) -> str:
        """How widths were counted: see `geometry.regression.widened`."""
        return str(self.header.config["box_width"])

    def targets(self, features: FloatArray, label: int) -> FloatArray:
        """Regression targets (N, 4) of class ``label`` from ``features`` (N, D)."""
        white = features @ self.weights[label].T + self.biases[label]
        return np.asarray(white @ self.unwhiten[label] + self.means[label], dtype=np.float32)


def read_svm(path: Path, whole: bool = True) -> SvmModel:
    """``whole``: refuse one that has the classes of a shard only."""
    with open_artefact(path, "svm") as artefact:
        _check_whole(artefact, whole)
        with described(artefact):
            record = FeatureRecord.from_json(artefact.header.summary["features"])
        found = checked_values(artefact)
        return SvmModel(path, artefact.header, record, found["classes"], found["weights"], found["biases"])


def _check_whole(artefact: Artefact, whole: bool) -> None:
    if whole and (shard := shard_of(artefact.header)):
        raise StaleArtefact(
            f"{artefact.path} is shard {shard} of the classes; merge it with the others first: spp merge"
        )


def write_svm(path: Path, header: Header, classes: tuple[str, ...], weights: FloatArray, biases: FloatArray) -> None:
    with create(path, header) as writer:
        writer.strings("classes", classes)
        writer.array("weights", weights)
        writer.array("biases", biases)


def read_bbox(path: Path, whole: bool = True) -> BoxModel:
    """As `read_svm`."""
    with open_artefact(path, "bbox") as artefact:
        _check_whole(artefact, whole)
        with described(artefact):
            record = FeatureRecord.from_json(artefact.header.summary["features"])
        found = checked_values(artefact)
        arrays: list[npt.NDArray[Any]] = [found[name] for name in ("weights", "biases", "unwhiten", "means", "trained")]
        return BoxModel(path, artefact.header, record, found["classes"], *arrays)


def write_bbox(path: Path, header: Header, classes: tuple[str, ...], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """``arrays``: weights, biases, unwhiten, means, trained, as in `BoxModel`."""
    with create(path, header) as writer:
        writer.strings("classes", classes)
        for name, values in arrays.items():
            writer.array(name, values)


def check_trunk(model: SvmModel | BoxModel, features: Features) -> None:
    """Refuse a model that was trained on the maps of another network, or on features made another way.

    Raises:
        StaleArtefact: says which files, and what to run.
    """
    made_by = "spp train-svm" if isinstance(model, SvmModel) else "spp train-bbox"
    if model.record.rcnn != features.rcnn:
        raise StaleArtefact(
            f"{model.path} was trained on {described_rcnn(model.record.rcnn)}, {features.path} holds "
            f"{described_rcnn(features.rcnn)}; run {made_by} again"
        )
    if model.record.network.digest != features.network.digest:
        raise StaleArtefact(
            f"{model.path} was trained on maps of another network ({model.record.network.backbone}, trunk "
            f"{model.record.network.digest[:8]}) than those in {features.path} ({features.network.backbone}, "
            f"{features.network.digest[:8]}); run {made_by} again"
        )


def described_rcnn(rcnn: RcnnRecord | None) -> str:
    """How features are made, for messages."""
    if rcnn is None:
        return "conv maps of whole images"
    return (
        f"R-CNN's features of each region ({rcnn.layer}{' ' + rcnn.head_digest[:8] if rcnn.head_digest else ''}, "
        f"{rcnn.side} pixels, context {rcnn.context})"
    )
