"""The detector as one object: from an image to boxes, scores and class names. `sppcli.Detector` is this class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from PIL import Image

from sppcli.artefacts.calibration import CalibrationFile
from sppcli.artefacts.packs import PACK_SUFFIX
from sppcli.detection.calibrated import NEW_IMAGE_SCORE, calibration_folder, calibration_of_models
from sppcli.detection.models import DetectPaths, Model, ModelPaths, model_inputs, read_models, same_proposals
from sppcli.detection.network_scoring import NETWORK_SETTINGS, NetworkScorer
from sppcli.detection.new_images import ImageReader
from sppcli.detection.packing import PackedDetector, load_pack
from sppcli.detection.scoring import DetectSettings, UnionScorer
from sppcli.detection.svd_cache import SvdCache, truncated
from sppcli.errors import BadInput, UsageProblem
from sppcli.features.conv_maps import choose_device
from sppcli.images import decode, digest, from_pillow, read_bytes
from sppcli.nets.backbones import Network
from sppcli.nets.detector import SppDetector, load_detector
from sppcli.paper import DEFAULT
from sppcli.proposals.propose import ProposeConfig, search
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.runtime.url_transfer import at_hand
from sppcli.runtime.urls import from_record
from sppcli.structures import Boxes, ByteImage, Calibration, FloatArray, ImageDetections


class _Objects(NamedTuple):
    boxes: Boxes
    scores: FloatArray
    labels: tuple[str, ...]


class DetectedObjects(_Objects):
    """The objects found in an image, best first: a tuple of boxes, scores and labels.

    ``boxes`` (N, 4) float32, x0 y0 x1 y1, 0-based half-open, in pixels of the image; ``scores`` (N,) float32;
    ``labels``: N class names; beside the tuple ``probabilities`` (N,) float32 that each is right, None of a detector
    without calibration.
    """

    probabilities: FloatArray | None

    def __new__(
        cls, boxes: Boxes, scores: FloatArray, labels: tuple[str, ...], probabilities: FloatArray | None = None
    ) -> Self:
        made = super().__new__(cls, boxes, scores, labels)
        made.probabilities = probabilities
        return made


class Detector:
    """SVMs and box regressors, the network they were trained on, and the search for region proposals they were trained
    with. Everything is loaded once; `spp detect IMAGE` uses this very object.

    ``classes``: names, in the order of the SVMs; ``proposing``: how region proposals are found; ``device``: where the
    network runs; ``corrects``: whether there are box regressors. Not to be used by two threads at once.
    """

    def __init__(
        self,
        models: Sequence[Model],
        settings: DetectSettings,
        *,
        weights: str | None = None,
        device: str = "auto",
        svd: tuple[int, ...] = (),
        calibration: Calibration | None = None,
        thresholds: bool = True,
        networks: Sequence[Network] = (),
        progress: Progress | None = None,
    ) -> None:
        """Load what ``models`` were trained on; several detect together (see `scoring.UnionScorer`).

        Args:
            weights: where the network is now, if not where the training found it.
            device: "auto", "cpu", "cuda", "cuda:1", "mps".
            svd: ranks to truncate the fc layers to, if the training did not.
            calibration: gives probabilities, and with ``thresholds`` decides what counts as an object.
            networks: those of the models in turn, where they have been loaded.
            progress: is told of what is slow, and of what new images do without.

        Raises:
            MissingInput, BadInput: the network's weights are not there or not readable.
            StaleArtefact: weights or box regressors that do not belong to the SVMs, or SVMs to each other.
            UsageProblem: imported region proposals, which new images do not have, or a device that is not there.
        """
        progress = progress or _Warnings()
        self.proposing = proposing_of(same_proposals(models), models[0].svm.path, progress)
        self.classes = models[0].svm.classes
        self.corrects = any(pair.bbox for pair in models)
        self.device = choose_device(device)
        self._readers = [
            ImageReader(
                pair,
                self.device,
                weights=weights,
                svd=svd,
                # Beside a file that somebody handed over nothing is kept.
                truncate=truncated if networks else SvdCache(pair.svm.path, progress),
                network=networks[number] if networks else None,
            )
            for number, pair in enumerate(models)
        ]
        self.networks = tuple(reader.network for reader in self._readers)
        self._score = UnionScorer([reader.scorer() for reader in self._readers], settings)
        self._calibration, self._thresholds = calibration, thresholds

    @classmethod
    def load(
        cls,
        *places: str | os.PathLike[str],
        bbox: str | os.PathLike[str] | Literal[False] | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        min_score: float | None = None,
        nms: float | None = None,
        nms_again: bool = DEFAULT.nms_again,
        second_pass: bool = DEFAULT.second_pass,
        max_per_image: int = DEFAULT.max_per_image,
        svd: Sequence[int] = (),
        calibration: str | os.PathLike[str] | Literal[False] | None = None,
    ) -> Detector:
        """The detector that `spp train-svm` (and `spp train-bbox`) left in a folder, or that of `spp train-detector`.

        Args:
            places: a folder with svm.h5 (and bbox.h5), or the file of the SVMs itself; of several networks one each.
                Or one file of `spp train-detector`, which takes only device, min_score, nms, max_per_image and
                calibration; or one of `spp pack`, which ends in .spp.
            bbox: the file of the box regressors, by default bbox.h5 beside the SVMs if it is there; False for none.
            weights, device, svd: see the class.
            min_score: objects that score at or below it are left out; None: the thresholds of the calibration, without
                one 0, and for a network a probability of 0.5.
            calibration: the file of spp calibrate, by default calibration.h5 beside the SVMs or the network if it is
                there; False for none.
            nms: None: the default of `spp detect`.
            nms, nms_again, second_pass, max_per_image: see `scoring.DetectSettings`.

        Raises:
            MissingInput: a file is not there; the text says which command makes it.
            BadArtefact, BadInput, StaleArtefact, UsageProblem: see the class.
        """
        if not places:
            raise UsageProblem("Detector.load needs a folder with svm.h5, or such a file")
        usual = DetectSettings(nms_again=nms_again, second_pass=second_pass)
        if any(Path(place).suffix == PACK_SUFFIX for place in places):
            if len(places) > 1 or bbox or weights or calibration:
                raise UsageProblem("a file of spp pack holds all that detects; give nothing but it")
            packed = load_pack(Path(places[0]))
            wanted = NETWORK_SETTINGS if packed.joint else usual
            return cls.of_pack(
                packed,
                _chosen(wanted, nms, min_score, max_per_image, NEW_IMAGE_SCORE if packed.joint else 0.0),
                device=device,
                calibrated=calibration is not False,
                thresholds=min_score is None,
                svd=svd,
            )
        if any(Path(place).suffix == ".safetensors" for place in places):
            if len(places) > 1 or bbox or weights or svd:
                raise UsageProblem(
                    "a network of spp train-detector detects alone, with its own weights and box regression; give "
                    "nothing but its file"
                )
            chosen = _chosen(NETWORK_SETTINGS, nms, min_score, max_per_image, NEW_IMAGE_SCORE)
            network = NetworkDetector(Path(places[0]), chosen, device=device)
            made_for = _calibration({"network": network.fingerprint}, network.path.parent, calibration)
            return network.calibrated(made_for, thresholds=min_score is None).prepare()
        if len(places) > 1 and (bbox or weights):
            raise UsageProblem("bbox and weights cannot stand for several networks; leave them out")
        paths = [_paths(Path(place), Path(bbox) if bbox else None) for place in places]
        ranks = tuple(svd)
        models = read_models(paths, "file" if bbox else "none" if bbox is False else "auto", ranks)
        settings = _chosen(usual, nms, min_score, max_per_image, 0.0)
        folder = calibration_folder(DetectPaths(models=tuple(paths)))
        found = _calibration(model_inputs(models), folder, calibration)
        if found and min_score is None:
            settings = replace(settings, min_score=found.min_score)
        return cls(
            models,
            settings,
            weights=os.fspath(weights) if weights else None,
            device=device,
            svd=ranks,
            calibration=found.calibration if found else None,
            thresholds=min_score is None,
        )

    @classmethod
    def of_pack(
        cls,
        packed: PackedDetector,
        settings: DetectSettings,
        *,
        device: str = "auto",
        calibrated: bool = True,
        thresholds: bool = True,
        svd: Sequence[int] = (),
        progress: Progress | None = None,
    ) -> Detector:
        """The detector in a file of `spp pack`.

        Args:
            calibrated: take its calibration, if it has one; ``thresholds``: and what that says counts as an object, in
                place of ``settings.min_score``.
            device, svd, progress: see the class.

        Raises:
            UsageProblem: ranks that do not fit, or a device that is not there.
        """
        known = packed.calibration if calibrated else None
        if packed.joint:
            joint = NetworkDetector(packed.path, settings, device=device, progress=progress, loaded=packed.joint)
            return joint.calibrated(known, thresholds=thresholds).prepare()
        return cls(
            packed.models,
            replace(settings, min_score=known.min_score) if known and thresholds else settings,
            device=device,
            svd=tuple(svd),
            calibration=known.calibration if known else None,
            thresholds=thresholds,
            networks=packed.networks,
            progress=progress,
        )

    def detect(self, image: str | os.PathLike[str] | Image.Image | ByteImage) -> DetectedObjects:
        """Find objects in one image: region proposals, conv maps, scores, non-maximum suppression, corrected boxes.

        Args:
            image: a file, a Pillow image, or an array (H, W, 3) of RGB uint8. A file's EXIF orientation is applied, and
                a Pillow image's. Random draws of the search go by the file's bytes, or by the pixels where there is no
                file, so that the same picture may have other last region proposals in memory than in its file.

        Raises:
            MissingInput, BadInput: no such image, or one that cannot be read; the text names it.
        """
        pixels, content, name = _opened(image)
        windows, _ = search(pixels, content, self.proposing)
        found = self.score(pixels, windows, name)
        order = np.argsort(-found.scores, kind="stable")
        labels = tuple(self.classes[label] for label in found.labels[order])
        likely = None if found.probabilities is None else found.probabilities[order]
        return DetectedObjects(found.boxes[order], found.scores[order], labels, likely)

    def score(self, image: ByteImage, windows: Boxes, name: str = "image") -> ImageDetections:
        """As `detect`, of region proposals ``windows`` (N, 4) that were found already; ``name`` appears in errors."""
        size = (image.shape[0], image.shape[1])
        return self._calibrated(self._score([reader.read(image, size, name) for reader in self._readers], windows))

    def _calibrated(self, found: ImageDetections) -> ImageDetections:
        return self._calibration.applied(found, self._thresholds) if self._calibration else found


class NetworkDetector(Detector):
    """As `Detector`, of the network in one file.

    ``training``: what made it; ``fingerprint``: of that; ``trained_on``, ``validated_on``: the splits of its training.
    """

    def __init__(
        self,
        path: Path,
        settings: DetectSettings,
        *,
        device: str = "auto",
        progress: Progress | None = None,
        loaded: tuple[SppDetector, dict[str, Any], dict[str, Any]] | None = None,
    ) -> None:
        """Load ``path``, or take what has been ``loaded`` from it.

        Raises:
            MissingInput, BadInput: no such file, or not a detector.
            UsageProblem: a device that is not there.
        """
        model, made, training = loaded or load_detector(path)
        self.path, self.made, self.training = path, made, training
        self.fingerprint = str(training["fingerprint"])
        self.trained_on = str(training["config"]["split"])
        self.validated_on: str | None = training["config"]["validation"]
        self.classes = model.architecture.classes
        self.corrects = True
        self.device = choose_device(device)
        self._calibration, self._thresholds = None, False
        placed = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scorer = NetworkScorer(placed, int(made["scale"]), made["precision"] == "bf16", settings, self.device)
        self._progress = progress or _Warnings()

    def prepare(self) -> NetworkDetector:
        """Find out how new images are searched, before there are any.

        Raises:
            UsageProblem: the network was trained on imported proposals, which new images do not have.
        """
        self.proposing = proposing_of(self.made["proposals"], self.path, self._progress)
        return self

    def calibrated(self, found: CalibrationFile | None, *, thresholds: bool) -> NetworkDetector:
        """Take the probabilities of ``found``, and with ``thresholds`` what counts as an object."""
        if found:
            self._calibration, self._thresholds = found.calibration, thresholds
            if thresholds:
                settings = replace(self.scorer.settings, min_score=found.min_score)
                self.scorer = replace(self.scorer, settings=settings)
        return self

    def score(self, image: ByteImage, windows: Boxes, name: str = "image") -> ImageDetections:
        return self._calibrated(self.scorer.score(image, windows))


class _Warnings(NoProgress):
    """Turns warnings into Python's own, for detectors that are loaded from Python."""

    def warn(self, text: str) -> None:
        warnings.warn(text, stacklevel=2)


def _chosen(
    usual: DetectSettings, nms: float | None, min_score: float | None, max_per_image: int, least: float
) -> DetectSettings:
    """``usual`` with what was given to `Detector.load`; ``least``: the score that new images are shown above."""
    return replace(
        usual,
        nms=usual.nms if nms is None else nms,
        min_score=least if min_score is None else min_score,
        max_per_image=max_per_image,
    )


def _calibration(
    inputs: Mapping[str, str], folder: Path, given: str | os.PathLike[str] | Literal[False] | None
) -> CalibrationFile | None:
    """The calibration that `Detector.load` takes for the models with the fingerprints ``inputs``."""
    if given is False:
        return None
    return calibration_of_models(inputs, folder, Path(given) if given else None, _Warnings())


def _paths(place: Path, bbox: Path | None) -> ModelPaths:
    found = ModelPaths.in_folder(place) if not place.is_file() else ModelPaths(svm=place, bbox=place.parent / "bbox.h5")
    return ModelPaths(found.features, found.svm, bbox or found.bbox)


def proposing_of(settings: Mapping[str, Any], where: Path, progress: Progress) -> ProposeConfig:
    """How region proposals of new images are found: as those of the training of ``where`` were.

    Raises:
        UsageProblem: they were imported.
    """
    found = ProposeConfig(**from_record(dict(settings)))
    if not found.methods:
        raise UsageProblem(
            f"{where} was trained on imported proposals, which new images do not have: import theirs with "
            "spp propose --import, then run spp extract and spp detect without naming images"
        )
    if found.imports:
        progress.warn(
            f"{where} was trained on proposals by {' and '.join(found.methods)} and imported ones: new images get only "
            "the former"
        )
    if found.edge_model:
        at_hand(found.edge_model)
    return found


def _opened(image: str | os.PathLike[str] | Image.Image | ByteImage) -> tuple[ByteImage, str, str]:
    """Pixels, a digest of the content, and a name for errors."""
    if isinstance(image, str | os.PathLike):
        data = read_bytes(Path(image))
        return decode(data, os.fspath(image)), digest(data), os.fspath(image)
    pixels = from_pillow(image) if isinstance(image, Image.Image) else np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise BadInput(
            f"an image in memory is an array (H, W, 3) of RGB uint8, and this one is {pixels.dtype} of shape "
            f"{pixels.shape}; convert it, or give the image's file"
        )
    pixels = np.ascontiguousarray(pixels)
    return pixels, digest(f"{pixels.shape}".encode() + pixels.tobytes()), "image"
