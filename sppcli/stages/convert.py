"""Writes an annotated data set in another format, and copies or links its images."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sppcli.datasets import open_dataset
from sppcli.datasets.formats import WANTED
from sppcli.datasets.records import IMAGE_FOLDERS, WRITERS, Format, collect, losses
from sppcli.datasets.writable import check_writable
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.runtime.files import check_room, inside, naming, temporary_name
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.options import USUAL, RunOptions


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """``link``: images become symbolic links to the originals instead of copies."""

    to: Format
    link: bool = False


@dataclass(frozen=True)
class ConvertSummary:
    """``losses``: one sentence for each kind of thing that the format cannot hold."""

    path: Path
    format: Format
    images: int
    objects: int
    classes: tuple[str, ...]
    splits: dict[str, int]
    losses: tuple[str, ...]


@one_at_a_time
def run(source: Path, destination: Path, config: ConvertConfig, *, options: RunOptions = USUAL) -> ConvertSummary:
    """Write ``source`` to the new folder ``destination``, which is there complete or not at all.

    Raises:
        UsageProblem: ``destination`` is there already, or a name that the format cannot hold.
        MissingInput, BadInput: no data set, no annotations, or one that cannot be read.
    """
    progress = options.progress
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageProblem(f"{destination} is there already and nothing is overwritten; name a new folder")
    if not destination.absolute().parent.is_dir():
        raise MissingInput(f"{destination}: the folder {destination.parent} does not exist; create it first")
    dataset = open_dataset([source])
    if not dataset.has_annotations:
        for warning in dataset.remarks():
            progress.warn(warning)
        raise BadInput(f"{source} has no annotations to convert: {WANTED}")
    progress.note("reading annotations")
    data = collect(dataset)
    for warning in dataset.remarks():
        progress.warn(warning)
    lost = losses(data, config.to)
    for text in lost:
        progress.warn(f"{text} ({config.to})")
    names = {image.id: f"{image.id}{image.path.suffix}" for image in data.images}
    size = 0 if config.link else sum(image.path.stat().st_size for image in data.images)
    temporary = temporary_name(destination)
    try:
        check_writable(config.to, data, names)
        if not config.link:
            _check_sources(dataset.root, [image.path for image in data.images])
        with naming(destination, temporary, size):
            temporary.mkdir()
            check_room(destination, size, size)
            WRITERS[config.to](temporary, data, names)
            progress.start(len(data.images), "images")
            for image in data.images:
                place = inside(temporary / IMAGE_FOLDERS[config.to], names[image.id])
                place.parent.mkdir(parents=True, exist_ok=True)
                if config.link:
                    place.symlink_to(image.path.resolve())
                else:
                    shutil.copyfile(image.path, place)
                progress.advance()
            temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    objects = sum(len(image.objects or ()) for image in data.images)
    splits = {name: len(ids) for name, ids in data.splits.items()}
    return ConvertSummary(destination, config.to, len(data.images), objects, data.classes, splits, tuple(lost))


def _check_sources(root: Path, paths: Sequence[Path]) -> None:
    """Refuse to copy what a data set only leads to: a link in it may name any file that its user can read.

    Raises:
        BadInput: an image reached by a link that leads out of the data set, or one elsewhere that is no image.
    """
    from sppcli.images import problem_with

    base = root.resolve()
    for path in paths:
        real = path.resolve()
        if real.is_relative_to(base):
            continue
        if path.absolute().is_relative_to(root.absolute()):
            raise BadInput(
                f"{path} is a link to {real}, outside the data set, and is not copied; put the image itself there, or "
                "use --link"
            )
        if problem := problem_with(path):
            raise BadInput(problem)
