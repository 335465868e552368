"""The models that detect together: SVMs, and box regressors where there are any, of one network or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sppcli.artefacts.features import Features
from sppcli.artefacts.models import BoxModel, SvmModel, read_bbox, read_svm
from sppcli.detection.networks import head_of, network_of_maps
from sppcli.detection.svd_cache import Truncate, truncated
from sppcli.errors import StaleArtefact, UsageProblem

if TYPE_CHECKING:
    from sppcli.nets.backbones import FcHead, Network

Heads = tuple["FcHead | None", "FcHead | None"]
"""The fc layers that the features of SVMs and of box regressors go through; None for pool5 and R-CNN's features."""


@dataclass(frozen=True)
class ModelPaths:
    """One network's files. New images need no ``features``."""

    features: Path = Path("features.h5")
    svm: Path = Path("svm.h5")
    bbox: Path = Path("bbox.h5")

    @classmethod
    def in_folder(cls, folder: Path) -> ModelPaths:
        """The files with the default names in ``folder``."""
        plain = cls()
        return cls(folder / plain.features, folder / plain.svm, folder / plain.bbox)


@dataclass(frozen=True)
class DetectPaths:
    """Where the inputs are. Several models detect together: see `detection.scoring.UnionScorer`.

    ``network``: a file of `spp train-detector`, which detects in place of ``models``; ``pack``: one of `spp pack`, for
    new images only.
    """

    proposals: Path = Path("proposals.h5")
    models: tuple[ModelPaths, ...] = (ModelPaths(),)
    network: Path | None = None
    pack: Path | None = None

    def files(self) -> list[Path]:
        """Every input, of which box regressors need not be there."""
        if self.network:
            return [self.proposals, self.network]
        return [self.proposals, *(path for item in self.models for path in (item.features, item.svm, item.bbox))]

    def all_there(self) -> bool:
        """Whether detection could run: box regressors are optional."""
        if self.network:
            return self.proposals.exists() and self.network.exists()
        needed = [self.proposals, *(path for model in self.models for path in (model.features, model.svm))]
        return all(path.exists() for path in needed)

    def to_json(self) -> dict[str, Any]:
        """Absolute paths, for `from_json`."""
        models = [[str(path.resolve()) for path in (item.features, item.svm, item.bbox)] for item in self.models]
        found: dict[str, Any] = {"proposals": str(self.proposals.resolve()), "models": models}
        return found | ({"network": str(self.network.resolve())} if self.network else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DetectPaths:
        models = tuple(ModelPaths(*map(Path, item)) for item in value["models"])
        return cls(Path(value["proposals"]), models, Path(value["network"]) if "network" in value else None)


class Model(NamedTuple):
    """The SVMs and box regressors that were trained on one network."""

    svm: SvmModel
    bbox: BoxModel | None


def read_models(paths: Sequence[ModelPaths], bbox: str, svd: tuple[int, ...]) -> list[Model]:
    """The models; they know the same classes, and with ``svd`` some have fc layers to truncate.

    Args:
        bbox: "auto" takes box regressors if they are there, "none" never, "file" insists on them.

    Raises:
        MissingInput, BadArtefact: a file is not there, or not what it should be.
        StaleArtefact: models of different classes.
        UsageProblem: ``svd`` for models that were trained with it, or that read no fc layers.
    """
    models = []
    for item in paths:
        left_out = bbox == "none" or (bbox == "auto" and not item.bbox.exists())
        models.append(Model(read_svm(item.svm), None if left_out else read_bbox(item.bbox)))
    first = models[0].svm
    for other, _ in models[1:]:
        # Trained classes are in order of name, whatever the order they were asked for in.
        if other.classes != first.classes:
            raise StaleArtefact(
                f"{other.path} knows other classes ({', '.join(other.classes)}) than {first.path} "
                f"({', '.join(first.classes)}); train both on the same, with spp train-svm --classes"
            )
    if svd:
        _check_svd([model for pair in models for model in pair if model is not None])
    return models


def _check_svd(models: Sequence[SvmModel | BoxModel]) -> None:
    """Refuse models without whole fc layers to truncate."""
    for model in models:
        if model.record.svd:
            ranks = ",".join(map(str, model.record.svd))
            raise UsageProblem(f"{model.path} was trained with --svd {ranks} and is used with it; leave out --svd")
    if not any(model.record.layer != "pool5" and model.record.rcnn is None for model in models):
        raise UsageProblem(
            f"--svd truncates fully connected layers, and {models[0].path} reads none from conv maps; leave it out"
        )


def same_proposals(models: Sequence[Model]) -> dict[str, Any]:
    """Return how the proposals of all models are made; the models must score the same ones.

    Raises:
        StaleArtefact: models that were trained on different ones.
    """
    first = models[0].svm
    for other, _ in models[1:]:
        if other.header.summary["proposals"] != first.header.summary["proposals"]:
            raise StaleArtefact(
                f"{other.path} was trained on proposals made with other options than {first.path}; train both on the "
                "same proposals.h5"
            )
    return dict(first.header.summary["proposals"])


def model_inputs(models: Sequence[Model]) -> dict[str, str]:
    """Name and fingerprint of each file, for the header of a file that is made from them."""
    return {
        **numbered("svm", [svm.header.fingerprint for svm, _ in models]),
        **numbered("bbox", [bbox.header.fingerprint if bbox else None for _, bbox in models]),
    }


def numbered(name: str, values: Sequence[str | None]) -> dict[str, str]:
    """``name``, ``name 2``, ``name 3`` … for the models in turn; None is left out."""
    return {f"{name} {i + 1}" if i else name: value for i, value in enumerate(values) if value is not None}


def heads_of_models(pair: Model, network: Network, svd: tuple[int, ...] = (), truncate: Truncate = truncated) -> Heads:
    """The fc layers of ``network`` that both models were trained on, or with ``svd`` those truncated to these ranks.

    ``truncate``: see `networks.head_of`.

    Raises:
        StaleArtefact: a model was trained on others.
        UsageProblem: ranks that do not fit.
    """
    svm, bbox = pair
    return _head(svm, network, svd, truncate), _head(bbox, network, svd, truncate) if bbox else None


def heads_over_maps(pair: Model, features: Features, svd: tuple[int, ...], truncate: Truncate) -> Heads:
    """As `heads_of_models`, of the network behind ``features``; it is loaded only if a model reads fc layers, and once
    where both were trained on the same weights.

    Raises:
        StaleArtefact: a model was trained on other fc layers, or on another trunk.
        UsageProblem: ranks that do not fit.
    """

    @cache
    def network(weights: str | None) -> Network:
        return network_of_maps(features, weights)

    def head(model: SvmModel | BoxModel | None) -> FcHead | None:
        if model is None or features.rcnn or model.record.layer == "pool5":
            return None
        return _head(model, network(model.header.source["head_weights"]), svd, truncate)

    return head(pair.svm), head(pair.bbox)


def _head(model: SvmModel | BoxModel, network: Network, svd: tuple[int, ...], truncate: Truncate) -> FcHead | None:
    record = model.record
    head, digest = head_of(network, record.layer, record.svd, truncate)
    if digest != record.head_digest:
        raise StaleArtefact(
            f"{model.path} was trained on other fc layers than {network.weights} holds; give the right --weights or "
            "train it again"
        )
    return head_of(network, record.layer, svd, truncate)[0] if svd and record.layer != "pool5" else head
