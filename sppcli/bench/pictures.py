"""Images and regions to measure on: those of files, or drawn where none are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sppcli.artefacts.proposals import read_proposals
from sppcli.errors import BadInput, UsageProblem
from sppcli.images import digest, read_bytes, read_image
from sppcli.paper import DEFAULT
from sppcli.proposals.selective_search import warm_up as compiling
from sppcli.proposals.selective_search.search import selective_search
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.progress import Progress
from sppcli.structures import Boxes, ByteImage

# How much the channels of a photograph have in common: brightness, and two directions of colour.
_COLOURS = np.array([[1.0, 0.8, 0.7], [0.0, 0.5, 0.3], [0.0, 0.2, 0.5]])
# Of Selective Search: its fast mode finds about 1,100 regions in an image of 500 x 375.
_MODE = "quality"


def pictures(paths: Sequence[Path], size: tuple[int, int], random: np.random.Generator) -> list[ByteImage]:
    """The images at ``paths``, or one of ``size`` (height, width) drawn by ``random``.

    Raises:
        MissingInput, BadInput: an image that cannot be read.
    """
    return [read_image(path) for path in paths] or [draw_picture(random, *size)]


def draw_picture(random: np.random.Generator, height: int, width: int) -> ByteImage:
    """An image with a photograph's spectrum, amplitude falling as 1 over frequency (Field 1987), (H, W, 3) uint8 RGB.

    Selective Search finds regions of all sizes in it, as in photographs, which it does not in random pixels.
    """
    frequency = np.hypot(height * np.fft.fftfreq(height)[:, None], width * np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    noise = np.fft.rfft2(random.standard_normal((3, height, width))) / frequency
    field = np.moveaxis(np.fft.irfft2(noise, (height, width)), 0, 2)
    values = field / np.maximum(field.std(axis=(0, 1)), 1e-12) @ _COLOURS
    return np.asarray(np.clip(128 + 45 * values, 0, 255), dtype=np.uint8)


def draw_windows(random: np.random.Generator, image: ByteImage, count: int) -> Boxes:
    """``count`` regions (N, 4) of whole pixels in ``image``; sides from 20 pixels to the image's, log-uniform."""
    height, width = image.shape[:2]
    if min(height, width) < 2:
        raise BadInput(f"an image of {width} x {height} pixels has no room for region proposals; give larger ones")
    sides = []
    for length in (width, height):
        sides.append(np.exp(random.uniform(np.log(min(20, length / 2)), np.log(length), count)).astype(np.int64))
    corners = [
        (random.random(count) * (length - side + 1)).astype(np.int64)
        for side, length in zip(sides, (width, height), strict=True)
    ]
    return np.stack([*corners, corners[0] + sides[0], corners[1] + sides[1]], axis=1).astype(np.float32)


def search_windows(image: ByteImage, count: int, seed: int, progress: Progress) -> Boxes:
    """At most ``count`` regions (N, 4) that Selective Search finds in ``image``, drawn evenly from all it finds.

    Raises:
        BadInput: there are none.
    """
    compiling.prepare("spp", cpu_threads(), progress)
    boxes, _ = selective_search(image, mode=_MODE, max_proposals=count, max_side=DEFAULT.max_side, seed=(seed,))
    if not len(boxes):
        raise BadInput(f"Selective Search finds no proposals in an image of {image.shape[1]} x {image.shape[0]} pixels")
    return boxes


def stored_windows(proposals: Path, paths: Sequence[Path], count: int) -> list[Boxes]:
    """The first ``count`` regions of each image at ``paths`` in a proposals.h5, which knows images by content.

    Raises:
        MissingInput, BadInput, BadArtefact: a file that is not there or damaged, or an image without regions in it.
        UsageProblem: no images.
    """
    if not paths:
        raise UsageProblem("--proposals holds proposals of images; name the images to measure on")
    stored = read_proposals(proposals)
    index = {content: i for i, content in enumerate(stored.images.digests)}
    found = []
    for path in paths:
        i = index.get(digest(read_bytes(path)))
        boxes = stored.of(i)[:count] if i is not None else stored.boxes[:0]
        if not len(boxes):
            raise BadInput(f"{path}: {proposals} has no proposals of it; run spp propose on it")
        found.append(boxes)
    return found
