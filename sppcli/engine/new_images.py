"""A new image as the scorer of a trained model sees it."""

from __future__ import annotations

import torch

from sppcli.artefacts.models import BoxModel, SvmModel
from sppcli.engine.detector import Scorer
from sppcli.errors import StaleArtefact
from sppcli.nets.maps import Extractor
from sppcli.nets.weights import load_network
from sppcli.nets.windows import HeldMaps, Maps
from sppcli.structures import ByteImage


class ImageReader:
    """The network that a model was trained on, run the way it was run for the training.

    ``weights``: where the network is now, if not where the training found it.

    Raises:
        StaleArtefact: weights whose trunk is not the one the model was trained on.
    """

    def __init__(self, svm: SvmModel, bbox: BoxModel | None, device: torch.device, weights: str | None = None) -> None:
        source = svm.header.source
        chosen = weights or source["head_weights"]
        self.network = load_network(**{**source["network"], **({"weights": chosen} if chosen else {})})
        for model in (svm, bbox):
            if model is not None and model.record.network.digest != self.network.digest:
                raise StaleArtefact(
                    f"{model.path} was trained on another network than {self.network.weights} holds; give the right "
                    "--weights"
                )
        self.svm = svm
        self.bbox = bbox
        self.scales = tuple(svm.header.summary["scales"])
        self._extractor = Extractor(self.network, device, svm.header.summary["precision"])

    def scorer(self) -> Scorer:
        """The model over what `read` gives."""
        head = self.network.head
        heads = (
            head if self.svm.record.layer != "pool5" else None,
            head if self.bbox and self.bbox.record.layer != "pool5" else None,
        )
        return Scorer(self.svm, self.bbox, self.scales, heads)

    def read(self, image: ByteImage, size: tuple[int, int], name: str) -> Maps:
        """What the scorer reads of ``image`` (H, W, 3); ``size``: the height and width its windows refer to."""
        return HeldMaps(size, tuple(self._extractor(image, scale, name) for scale in self.scales))
