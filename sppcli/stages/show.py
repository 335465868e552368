"""Draws artefacts as pictures: detections over ground truth, proposals, or ground truth alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sppcli.artefacts.overwriting import PICTURE, claim
from sppcli.datasets.base import did_you_mean
from sppcli.detection.per_image import none_left
from sppcli.detection.shown import DETECTIONS, PROPOSALS, Source, open_shown
from sppcli.errors import MissingInput, SppError, UsageProblem
from sppcli.images import read_image
from sppcli.report.drawing import Colour, Tile, class_colours, contact_sheet, draw, with_head
from sppcli.report.fonts import missing_letters
from sppcli.report.overlays import (
    FALSE,
    MISSED,
    Overlay,
    detection_overlay,
    legend,
    proposal_overlay,
    truth_overlay,
)
from sppcli.report.picture_files import JPEG, PNG, names_in, write_picture
from sppcli.runtime.counts import count_of
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress
from sppcli.structures import Annotations, ByteImage, Skipped

# More pictures than this on one sheet cannot be made out.
MAX_ON_SHEET = 200
# Pictures on a sheet are of one height, if they are not very wide.
_TILE_HEIGHT, _TILE_WIDEST = 380, 900
# Pictures in a folder are as large as the image, within these bounds of the longer side.
_PICTURE_SIDES = (640, 2000)


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """What to draw.

    | field | meaning |
    |---|---|
    | what | one of `shown.WHATS`; None: what the file holds |
    | images | ids of the images to draw, in this order |
    | count, seed | without ``images``: so many, spread evenly, or drawn at random with a seed |
    | worst | in place of ``count``: so many images, those with the most false positives and missed objects first |
    | only | of detections: "false" positives or "missed" objects alone, or this class; and images that have such |
    | split | only images of this split |
    | min_score | detections that score less are left out; None: those below the calibrated thresholds, without any 0 |
    | max_boxes | detections or proposals drawn on an image, best first |
    | dataset | where the images are, if not where the file says |
    """

    what: str | None = None
    images: tuple[str, ...] = ()
    count: int = 12
    seed: int | None = None
    worst: int | None = None
    only: str | None = None
    split: str | None = None
    min_score: float | None = None
    max_boxes: int = 100
    dataset: Path | None = None


@dataclass(frozen=True)
class Picture:
    """One image as drawn, and the counts of its `Overlay`."""

    id: str
    file: Path
    boxes: int | None
    drawn: int | None
    objects: int | None
    found: int | None


@dataclass(frozen=True)
class ShowSummary:
    """``files``: the pictures written; ``of``: images there were to choose from."""

    what: str
    files: tuple[Path, ...]
    pictures: tuple[Picture, ...]
    of: int
    skipped: tuple[Skipped, ...]


def run(files: Sequence[Path], output: str | None, config: ShowConfig, *, options: RunOptions = USUAL) -> ShowSummary:
    """Draw pictures and write them.

    Args:
        files: detections.h5, proposals.h5 or a data set (for ground truth); empty means what the current folder has.
        output: ``NAME.png`` or ``NAME.jpg`` for one contact sheet; an existing folder, or a name with a slash at the
            end, for a PNG per image; None for a contact sheet named after what is drawn.
        config: what to draw.
        progress: told of every image.

    Raises:
        MissingInput: nothing to show, the images are gone, or there is no such image or split.
        BadInput: none of the images can be read.
        UsageProblem: what is asked for is not in the files, or is too much for one sheet.
    """
    progress = options.progress
    source = open_shown(files, config.what, config.dataset, config.min_score, progress)
    colours = class_colours(_classes(source))
    overlays = _Overlays(source, config, colours)
    pool = _narrowed(overlays, _pool(source, config))
    ids = _choose(source, config, pool)
    target, is_folder = _target(output or f"{source.what}.png", len(ids))
    paths = {item.id: item.path for item in source.dataset.images}
    written_to = names_in(target, ids).values() if is_folder else (target,)
    for picture in written_to if target.is_dir() or not is_folder else ():
        claim(picture, PICTURE, inputs=files, data=source.dataset, overwrite=options.overwrite)
    drawn: dict[str, tuple[Overlay, ByteImage]] = {}
    skipped: list[Skipped] = []
    progress.start(len(ids), "images")
    for image_id in ids:
        try:
            if image_id not in paths:
                raise MissingInput(f"{image_id}: there is no such image in {source.dataset.root} any more")
            image = read_image(paths[image_id])
            overlay = overlays.of(image_id)
        except SppError as error:
            progress.warn(f"skipped: {error}")
            skipped.append(Skipped(image_id, str(error)))
        else:
            drawn[image_id] = overlay, draw(image, overlay.marks, _side(image, is_folder))
        progress.advance()
    if not drawn:
        raise none_left(len(ids), "can be shown", skipped[0].reason, source.name)
    for text, letters in missing_letters([*colours, *drawn]).items():
        progress.warn(
            f"no font on this machine has the letters {letters[:20]} of {text!r}: they are drawn as boxes; install one "
            "that has, such as Noto Sans (fonts-noto, fonts-noto-cjk)"
        )
    _warn_if_bare(source, config, drawn, progress)
    keys = legend(source.what, [overlay for overlay, _ in drawn.values()], colours)
    tiles = {image_id: Tile(f"{image_id}: {overlay.caption}", image) for image_id, (overlay, image) in drawn.items()}
    if is_folder:
        target.mkdir(exist_ok=True)
        written = names_in(target, tiles)
        for image_id, tile in tiles.items():
            write_picture(written[image_id], with_head(tile, keys))
    else:
        written = dict.fromkeys(tiles, target)
        write_picture(target, contact_sheet(list(tiles.values()), _title(source, config, len(tiles), len(pool)), keys))
    pictures = tuple(
        Picture(image_id, written[image_id], overlay.boxes, overlay.drawn, overlay.objects, overlay.found)
        for image_id, (overlay, _) in drawn.items()
    )
    return ShowSummary(source.what, tuple(dict.fromkeys(written.values())), pictures, len(pool), tuple(skipped))


def _pool(source: Source, config: ShowConfig) -> list[str]:
    """Ids of the images there are to choose from."""
    members = set(source.ids if config.split is None else source.dataset.split(config.split))
    pool = [image_id for image_id in source.ids if image_id in members]
    if not pool:
        raise MissingInput(f"{source.name}: holds no image{f' of the split {config.split}' if config.split else ''}")
    return pool


def _narrowed(overlays: _Overlays, pool: list[str]) -> list[str]:
    """The images of ``pool`` that ``worst`` and ``only`` leave, the worst first; all if neither is given."""
    source, config = overlays.source, overlays.config
    if config.worst is None and config.only is None:
        return pool
    flag = "--worst" if config.worst is not None else "--only"
    if source.what != DETECTIONS or source.detections is None:
        raise UsageProblem(f"{flag} chooses by detections; {source.name} is shown as {source.what.replace('-', ' ')}")
    needs_truth = config.worst is not None or config.only in (FALSE, MISSED)
    if needs_truth and not source.dataset.has_annotations:
        raise MissingInput(f"{source.dataset.root}: has no annotations, so that nothing is known to be false or missed")
    if config.only not in (None, FALSE, MISSED, *_classes(source)):
        near = did_you_mean(str(config.only), (FALSE, MISSED, *_classes(source)))
        raise UsageProblem(
            f"--only {config.only}: neither false nor missed nor a class; the classes are "
            + ", ".join(_classes(source))
            + near
        )
    kept = [name for name in pool if config.only is None or overlays.of(name).marks]
    if config.worst is not None:
        kept = [name for name in kept if overlays.of(name).mistakes]
        kept.sort(key=lambda name: -overlays.of(name).mistakes)
    if not kept:
        raise MissingInput(f"{source.name}: no image has {config.only or 'a mistake'} to show; nothing is drawn")
    return kept


def _side(image: ByteImage, alone: bool) -> int:
    """Pixels of the longer side of a picture, in a file of its own or on a sheet."""
    height, width = int(image.shape[0]), int(image.shape[1])
    if alone:
        return min(max(_PICTURE_SIDES[0], height, width), _PICTURE_SIDES[1])
    return round(min(max(height, width) * _TILE_HEIGHT / height, _TILE_WIDEST))


def _choose(source: Source, config: ShowConfig, pool: Sequence[str]) -> list[str]:
    for image_id in config.images:
        if image_id not in pool:
            where = f" in the split {config.split}" if config.split else ""
            raise MissingInput(f"{source.name}: holds no image {image_id!r}{where}; an id looks like {pool[0]!r}")
    if config.images:
        return list(config.images)
    if config.worst is not None:
        return list(pool[: config.worst])
    count = min(config.count, len(pool))
    if config.seed is None:
        return [pool[i * len(pool) // count] for i in range(count)]
    rows = np.random.default_rng(config.seed).choice(len(pool), size=count, replace=False)
    return [pool[row] for row in sorted(rows)]


def _target(output: str, count: int) -> tuple[Path, bool]:
    """Where to write, and whether that is a folder of pictures."""
    path = Path(output)
    if output.endswith("/") or path.is_dir():
        if not path.absolute().parent.is_dir():
            raise MissingInput(f"{output}: the folder {path.absolute().parent} does not exist; create it")
        if path.exists() and not path.is_dir():
            raise UsageProblem(f"{output}: a file, where a folder for the pictures is meant; choose another -o")
        return path, True
    if path.suffix.lower() not in (*PNG, *JPEG):
        raise UsageProblem(
            f"{output}: pictures are PNG or JPEG; name a file ending in .png or .jpg, or a folder ending in /"
        )
    if count > MAX_ON_SHEET:
        raise UsageProblem(f"{count:,} images are too many for one sheet; choose at most {MAX_ON_SHEET}, or -o FOLDER/")
    return path, False


def _classes(source: Source) -> list[str]:
    """Every class that may be drawn, in an order that does not depend on the images chosen."""
    detected = source.detections.classes if source.detections is not None else ()
    annotated = source.dataset.classes if source.dataset.has_annotations else ()
    return sorted({*detected, *annotated})


@dataclass(frozen=True)
class _Overlays:
    """What is drawn on each image, worked out once: ``--worst`` and ``--only`` ask for it before it is drawn."""

    source: Source
    config: ShowConfig
    colours: dict[str, Colour]
    known: dict[str, Overlay] = field(default_factory=dict)

    def of(self, image_id: str) -> Overlay:
        """The marks of one image.

        Raises:
            MissingInput, BadInput: its annotation cannot be read.
        """
        if image_id not in self.known:
            self.known[image_id] = self._made(self.source.row_of[image_id], self.source.truth(image_id))
        return self.known[image_id]

    def _made(self, row: int, truth: Annotations | None) -> Overlay:
        source, config, colours = self.source, self.config, self.colours
        if source.what == DETECTIONS and source.detections is not None:
            drawn = source.detections if source.shown is None else source.detections.only(source.shown)
            return detection_overlay(drawn.of_image(row), truth, colours, -np.inf, config.max_boxes, config.only)
        if source.what == PROPOSALS and source.proposals is not None:
            first, end = source.proposals.offsets[row : row + 2]
            scores = source.proposals.scores[first:end]
            return proposal_overlay(source.proposals.of(row), scores, truth, colours, config.max_boxes)
        return truth_overlay(truth or Annotations.empty(), colours)


def _warn_if_bare(
    source: Source, config: ShowConfig, drawn: dict[str, tuple[Overlay, ByteImage]], progress: Progress
) -> None:
    """Say why there is no detection on the pictures, if so."""
    meant = source.what == DETECTIONS and config.only != MISSED
    if not meant or source.detections is None or any(o.drawn for o, _ in drawn.values()):
        return
    scores = source.detections.scores
    highest = f"the highest in the file is {scores.max():.2f}" if len(scores) else "there are none in the file"
    if source.shown_from.startswith("above"):
        progress.warn(f"{source.name}: no detection on these images lies {source.shown_from}; {highest}")
        return
    least = source.shown_from.rpartition(" ")[2]
    progress.warn(f"{source.name}: no detection on these images scores {least} or more; {highest}")


def _title(source: Source, config: ShowConfig, shown: int, of: int) -> str:
    parts = [f"{source.name}: {source.what.replace('-', ' ')}", f"{shown} of {count_of(of, 'image')}"]
    if config.split:
        parts[-1] += f" of {config.split}"
    if source.what == DETECTIONS:
        parts.append(source.shown_from)
    if config.only:
        parts.append(f"only {config.only}" + (" objects" if config.only == MISSED else ""))
    if config.worst is not None:
        parts.append("the worst first")
    if source.what == PROPOSALS:
        parts.append(f"the best {config.max_boxes} proposals of each")
    return ", ".join(parts)
