"""New images through a detector: region proposals, in processes or in this one, then scores, in the order given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from sppcli.datasets import Dataset
from sppcli.detection.detector import Detector
from sppcli.detection.per_image import name_in
from sppcli.errors import BadInput, SppError
from sppcli.images import decode, digest, read_bytes
from sppcli.proposals.propose import Windows, propose_image
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.processes import run_many
from sppcli.structures import Found, ImageItem


def over_images(
    images: Dataset, detector: Detector, jobs: int
) -> Iterator[tuple[ImageItem, tuple[Found, str] | SppError]]:
    """Each image with what was found in it and the digest of its file, or with what is wrong with it."""
    # On a CPU one process has work enough for it; beside a GPU the CPU searches the following images.
    apart = detector.device.type != "cpu"
    propose = partial(propose_image, config=detector.proposing)
    for index, windows in _in_order(propose, images.images, jobs, apart):
        item = images.images[index]
        try:
            if windows.problem:
                raise BadInput(windows.problem)
            data = read_bytes(item.path)
            detections = detector.score(decode(data, str(item.path)), windows.boxes, str(item.path))
        except SppError as error:
            yield item, error
        else:
            yield item, (Found(item.id, name_in(images.root, item.path), windows.size, detections), digest(data))


def _in_order(
    function: Callable[[ImageItem], Windows], items: Sequence[ImageItem], jobs: int, apart: bool
) -> Iterator[tuple[int, Windows]]:
    """Results of `run_many` in the order of the items, so that the output does not depend on the processes."""
    held: dict[int, Windows] = {}
    wanted = 0
    for index, result in run_many(function, items, min(jobs, cpu_threads()), apart):
        held[index] = result
        while wanted in held:
            yield wanted, held.pop(wanted)
            wanted += 1
