"""Detection with a network of `spp train-detector`: maps once for an image, two passes over RoIs, one suppression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sppcli.detection.rois import to_input_pixels
from sppcli.detection.scoring import DetectSettings
from sppcli.detection.split import ImageSplit
from sppcli.evaluation.voc_ap import evaluate_voc
from sppcli.features.conv_maps import prepare
from sppcli.geometry.boxes import clip
from sppcli.geometry.nms import nms
from sppcli.geometry.regression import decode
from sppcli.nets.detector import TARGET_SCALE, SppDetector
from sppcli.runtime.distributed import World
from sppcli.structures import Boxes, ByteImage, Detections, FloatArray, Found, ImageDetections, IntArray

NETWORK_SETTINGS = DetectSettings(nms=0.3, nms_again=False, max_per_image=100, min_score=0.01)
"""Of detection with probabilities as scores."""

_AT_ONCE = 1024


@dataclass(frozen=True)
class NetworkScorer:
    """A detector over the region proposals of images. ``scale``: shorter side that the network reads, in pixels."""

    model: SppDetector
    scale: int
    autocast: bool
    settings: DetectSettings
    device: torch.device

    @torch.inference_mode()
    def score(self, image: ByteImage, windows: Boxes) -> ImageDetections:
        """Objects among ``windows`` (N, 4) of ``image`` (H, W, 3).

        Every window is scored, and corrected for each class that it may show. The best corrected boxes of each class
        are pooled and scored once more, and non-maximum suppression goes over both passes.
        """
        size = (image.shape[0], image.shape[1])
        pixels = prepare([image], self.scale, self.model.architecture.normalisation, self.device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            maps = self.model.maps(pixels)
        resized = (int(pixels.shape[2]), int(pixels.shape[3]))
        first = self._pass(maps, windows, size, resized, None)
        kept = self._suppressed(*first)
        second = self._pass(maps, kept[0], size, resized, kept[2])
        boxes, scores = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
        return ImageDetections(*self._suppressed(boxes, scores, np.concatenate([first[2], second[2]])))

    def _pass(
        self,
        maps: list[torch.Tensor],
        windows: Boxes,
        size: tuple[int, int],
        resized: tuple[int, int],
        of: IntArray | None,
    ) -> tuple[Boxes, FloatArray, IntArray]:
        """Corrected boxes, probabilities and classes of ``windows``: all classes above the least score, or ``of``."""
        count = len(self.model.architecture.classes)
        probabilities = np.zeros((len(windows), count), np.float32)
        targets = np.zeros((len(windows), count, 4), np.float32)
        rois = torch.from_numpy(to_input_pixels(windows, size, resized)).to(self.device)
        for start in range(0, len(windows), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            logits, boxes = self.model.classify(maps, rois[rows])
            probabilities[rows] = logits.float().softmax(dim=1)[:, 1:].cpu().numpy()
            targets[rows] = boxes.float().cpu().numpy()
        likely = probabilities > self.settings.min_score
        if of is not None:
            likely &= np.arange(count) == of[:, None]
        window, label = np.nonzero(likely)
        mine = targets[window, label] * np.array(TARGET_SCALE)
        # A side that would grow a hundredfold is no prediction.
        mine[:, 2:] = np.clip(mine[:, 2:], -4.6, 4.6)
        moved = clip(decode(windows[window], mine).astype(np.float32), *size)
        return moved, probabilities[window, label], label.astype(np.int64)

    def _suppressed(self, boxes: Boxes, scores: FloatArray, labels: IntArray) -> tuple[Boxes, FloatArray, IntArray]:
        """What non-maximum suppression leaves, by class, best first."""
        kept = [np.zeros(0, np.int64)]
        for label in range(len(self.model.architecture.classes)):
            rows = np.flatnonzero(labels == label)
            kept.append(rows[nms(boxes[rows], scores[rows], self.settings.nms)[: self.settings.max_per_image]])
        order = np.concatenate(kept)
        return boxes[order], scores[order], labels[order]


def over_split(split: ImageSplit, scorer: NetworkScorer) -> Iterator[Found]:
    """Detections in every image of ``split``."""
    for image in split.images:
        pixels = split.pixels(image)
        size = (pixels.shape[0], pixels.shape[1])
        found = scorer.score(pixels, split.windows(image))
        yield Found(split.image_id(image), split.table.paths[image.index], size, found)


def mean_ap(split: ImageSplit, scorer: NetworkScorer, world: World) -> tuple[float | None, float | None]:
    """mAP of ``scorer`` on ``split``, by 11 recall points (VOC 2007) and by area (VOC 2010).

    Several processes detect in a part of the images each.
    """
    classes = scorer.model.architecture.classes
    mine = slice(*world.share(len(split.images)))
    found = world.gathered(list(over_split(replace(split, images=split.images[mine]), scorer)))
    detections = Detections.of_images(found, classes)
    truth = {split.image_id(image): split.truth(image) for image in split.images}
    results: Any = [evaluate_voc(detections, truth, classes, protocol) for protocol in ("voc2007", "voc2010")]
    return results[0].mAP, results[1].mAP
