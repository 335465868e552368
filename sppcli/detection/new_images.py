"""Prepares a new image for the scorer of a trained model."""

from __future__ import annotations

import torch

from sppcli.artefacts.models import described_rcnn
from sppcli.detection.models import Model, heads_of_models
from sppcli.detection.networks import head_of, open_network
from sppcli.detection.scoring import Scorer
from sppcli.detection.svd_cache import Truncate, truncated
from sppcli.errors import StaleArtefact
from sppcli.features.conv_maps import Extractor, gpu
from sppcli.features.rcnn import RcnnReader, RcnnVectors
from sppcli.features.windows import HeldMaps, Maps, Vectors
from sppcli.nets.backbones import Network
from sppcli.structures import ByteImage


class ImageReader:
    """The network that a model was trained on, run the way it was run for the training.

    ``network``: it, where it has been loaded; ``weights``: where it is now, if not where the training found it;
    ``svd``: ranks to truncate its fc layers to, if the training did not; ``truncate``: see `networks.head_of`.

    Raises:
        StaleArtefact: weights that are not those the model was trained on, or box regressors of other features.
    """

    def __init__(
        self,
        pair: Model,
        device: torch.device,
        *,
        weights: str | None = None,
        svd: tuple[int, ...] = (),
        truncate: Truncate = truncated,
        network: Network | None = None,
    ) -> None:
        self.svm, self.bbox = svm, bbox = pair
        self.network = network or open_network(
            svm.header.source["network"], weights or svm.header.source["head_weights"]
        )
        for model in (svm, bbox):
            if model is not None and model.record.network.digest != self.network.digest:
                raise StaleArtefact(
                    f"{model.path} was trained on another network than {self.network.weights} holds; give the right "
                    "--weights"
                )
        if bbox and bbox.record.rcnn != svm.record.rcnn:
            raise StaleArtefact(
                f"{bbox.path} was trained on {described_rcnn(bbox.record.rcnn)}, {svm.path} on "
                f"{described_rcnn(svm.record.rcnn)}; run spp train-bbox again"
            )
        self.scales = tuple(svm.header.summary["scales"])
        precision = svm.header.summary["precision"]
        self._crops = self._rcnn_reader(device, precision)
        if not self._crops:
            self._extractor = Extractor(self.network, device, precision)
            self._heads = heads_of_models(pair, self.network, svd, truncate)
            self._device = gpu(device)

    def _rcnn_reader(self, device: torch.device, precision: str) -> RcnnReader | None:
        rcnn = self.svm.record.rcnn
        if rcnn is None:
            return None
        head, digest = head_of(self.network, rcnn.layer)
        if digest != rcnn.head_digest:
            raise StaleArtefact(
                f"{self.svm.path} was trained on other fc layers than {self.network.weights} holds; train it again"
            )
        return RcnnReader(self.network, device, precision, rcnn.levels, rcnn.layer, head, rcnn.side, rcnn.context)

    def scorer(self) -> Scorer:
        """The model over what `read` gives."""
        if self._crops:
            return Scorer(self.svm, self.bbox, self.scales)
        return Scorer(self.svm, self.bbox, self.scales, self._heads, self._device)

    def read(self, image: ByteImage, size: tuple[int, int], name: str) -> Maps | Vectors:
        """Compute what the scorer reads of ``image`` (H, W, 3); ``size``: the height and width that its regions refer
        to."""
        if self._crops:
            return RcnnVectors(self._crops, image, size, name)
        return HeldMaps(size, tuple(maps[0] for maps in self._extractor.batch([image], self.scales, [name])))
