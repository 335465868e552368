"""New images through a detector: region proposals, in processes or in this one, then scores, in the order given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from sppcli.datasets import Dataset
from sppcli.datasets.folder import PlainImages
from sppcli.detection.detector import Detector
from sppcli.detection.per_image import name_in
from sppcli.errors import BadInput, SppError
from sppcli.images import decode, digest, read_bytes
from sppcli.proposals.propose import Windows, propose_image
from sppcli.runtime.arriving import as_they_come
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.processes import run_many
from sppcli.runtime.url_transfer import at_hand
from sppcli.runtime.urls import with_urls
from sppcli.structures import Found, ImageItem

Outcome = tuple[ImageItem, "tuple[Found, str] | SppError"]
"""An image with what was found in it and the digest of its file, or with what is wrong with it."""


def over_images(images: Dataset, detector: Detector, jobs: int) -> Iterator[Outcome]:
    """Each image of a data set."""
    yield from _over(images.images, images.root, detector, jobs)


def over_stream(paths: Iterator[Path], detector: Detector, jobs: int) -> Iterator[Outcome]:
    """Each image of ``paths``, of files and of folders, as they come: what is there is done before more is waited for.

    Ids and names are the paths. Processes are started only for many images at once, so that one has no wait for them.
    """
    for waiting in as_they_come(paths):
        items = []
        for path in waiting:
            try:
                at_hand(path)
            except SppError as error:
                yield ImageItem(with_urls(path.as_posix()), path), error
            else:
                items += _images_at(path)
        yield from _over(items, None, detector, jobs if len(items) >= 4 * jobs else 1)


def _images_at(path: Path) -> list[ImageItem]:
    found = [item.path for item in PlainImages([path.absolute()]).images] if path.is_dir() else [path]
    return [ImageItem(with_urls(one.with_suffix("").as_posix()), one) for one in found]


def _over(items: Sequence[ImageItem], root: Path | None, detector: Detector, jobs: int) -> Iterator[Outcome]:
    # On a CPU one process has work enough for it; beside a GPU the CPU searches the following images.
    apart = detector.device.type != "cpu"
    propose = partial(propose_image, config=detector.proposing)
    for index, windows in _in_order(propose, items, jobs, apart and len(items) > 1):
        item = items[index]
        try:
            if windows.problem:
                raise BadInput(windows.problem)
            data = read_bytes(item.path)
            detections = detector.score(decode(data, str(item.path)), windows.boxes, str(item.path))
        except SppError as error:
            yield item, error
        else:
            name = name_in(root, item.path) if root else with_urls(str(item.path))
            yield item, (Found(item.id, name, windows.size, detections), digest(data))


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
