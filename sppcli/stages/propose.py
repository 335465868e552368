"""Images to proposals.h5: the windows of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.proposals import read_proposals, source_json, write_proposals
from sppcli.artefacts.store import Header, Parts, digest_of, is_current, touch_if_older
from sppcli.datasets import open_dataset
from sppcli.engine.processes import run_many
from sppcli.engine.progress import NoProgress, Progress
from sppcli.errors import BadArtefact, BadInput, SppError
from sppcli.images import digest, read_bytes
from sppcli.proposals.compiling import prepare
from sppcli.proposals.search import ProposeConfig, engine_name, propose_image
from sppcli.structures import Boxes, FloatArray, ImageItem, Skipped


@dataclass(frozen=True)
class ProposeSummary:
    """``found``: images searched now; ``kept``: taken over from an earlier run; ``up_to_date``: nothing was to do."""

    path: Path
    images: int
    windows: int
    found: int
    kept: int
    skipped: tuple[Skipped, ...]
    up_to_date: bool = False
    dry_run: bool = False


def run(
    sources: Sequence[Path],
    output: Path,
    config: ProposeConfig,
    *,
    engine: str = "spp",
    jobs: int = 1,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ProposeSummary:
    """Search every image of ``sources`` and write ``output``.

    Images that an unfinished run, or an earlier ``output`` of the same options, has searched already are not searched
    again; they are known by content. A damaged image is skipped, warned of and listed in the file. ``engine`` is one of
    `proposals.selective_search.ENGINES`; the windows are the same, and the file says which it was.

    Raises:
        MissingInput, BadInput: nothing to search; with ``strict``, the first damaged image.
    """
    progress = progress or NoProgress()
    dataset = open_dataset(sources)
    for warning in dataset.warnings:
        if strict:
            raise BadInput(warning)
        progress.warn(warning)
    digests = _digests(dataset.images)
    relative = [_relative(item.path, dataset.root) for item in dataset.images]
    settings = {"method": "selective-search", "engine": engine_name(engine), **asdict(config)}
    header = Header(
        "proposals",
        settings,
        {
            "images": digest_of(
                [list(row) for row in zip((i.id for i in dataset.images), relative, digests, strict=True)]
            )
        },
        source_json(dataset.kind, [str(path) for path in dataset.sources], str(dataset.root)),
    )
    if not force and is_current(output, "proposals", header.fingerprint):
        old = read_proposals(output)
        # The same images found elsewhere: the same windows, written again with the new place.
        if old.header.source == header.source:
            touch_if_older(output, [item.path for item in dataset.images])
            return ProposeSummary(output, len(old.images), len(old.boxes), 0, len(old.images), old.images.skipped, True)
    known = {} if force else _known(output, header)
    parts = None if dry_run else Parts(output, digest_of({"config": settings}), discard=force)
    todo = [i for i, value in enumerate(digests) if value not in known and (parts is None or not parts.has(value))]
    if parts is None:
        return ProposeSummary(output, len(digests), 0, len(todo), len(digests) - len(todo), (), dry_run=True)
    # A content that occurs twice is searched once.
    todo = list({digests[i]: i for i in reversed(todo)}.values())[::-1]
    problems: dict[int, str] = {}
    if todo:
        prepare(engine, jobs, progress)
    progress.start(len(todo), "images")
    search = partial(propose_image, config=config, engine=engine)
    for position, windows in run_many(search, [dataset.images[i] for i in todo], jobs):
        index = todo[position]
        if windows.problem:
            if strict:
                raise BadInput(windows.problem)
            progress.warn(f"skipped: {windows.problem}")
            problems[index] = windows.problem
        else:
            with parts.create(digests[index]) as part:
                part.array("boxes", windows.boxes)
                part.array("scores", windows.scores)
                part.array("size", np.array(windows.size, dtype=np.int64))
        progress.advance()
    bad = {digests[i]: problem for i, problem in problems.items()}
    good = [i for i, value in enumerate(digests) if value not in bad]
    if not good:
        raise BadInput(f"none of the {len(digests)} images could be read; the first: {next(iter(bad.values()))}")
    found: list[tuple[Boxes, FloatArray]] = []
    sizes = []
    for i in good:
        if parts.has(digests[i]):
            with parts.open(digests[i]) as part:
                found.append((part.array("boxes"), part.array("scores")))
                sizes.append(part.array("size"))
        else:
            boxes, scores, size = known[digests[i]]
            found.append((boxes, scores))
            sizes.append(size)
    skipped = tuple(Skipped(relative[i], bad[digests[i]]) for i in range(len(digests)) if digests[i] in bad)
    table = ImageTable(
        tuple(dataset.images[i].id for i in good),
        tuple(relative[i] for i in good),
        tuple(digests[i] for i in good),
        np.array(sizes, dtype=np.int64).reshape(-1, 2),
        skipped,
    )
    write_proposals(output, header, table, found)
    parts.discard()
    windows_found = sum(len(boxes) for boxes, _ in found)
    searched = len(todo) - len(problems)
    return ProposeSummary(output, len(good), windows_found, searched, len(digests) - len(todo), skipped)


def _digests(images: Sequence[ImageItem]) -> list[str]:
    values = []
    for item in images:
        try:
            values.append(digest(read_bytes(item.path)))
        except SppError:
            # It is reported, by name, when its turn to be decoded comes.
            values.append(f"unreadable {item.id}")
    return values


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _known(output: Path, header: Header) -> dict[str, tuple[Boxes, FloatArray, npt.NDArray[np.int64]]]:
    """Windows by image content from an earlier file of the same options."""
    if not output.exists():
        return {}
    try:
        old = read_proposals(output)
    except BadArtefact:
        # What is there is no proposals file: it is about to be replaced by one.
        return {}
    if old.header.config != header.config:
        return {}
    return {
        value: (old.of(i), old.scores[old.offsets[i] : old.offsets[i + 1]], old.images.sizes[i])
        for i, value in enumerate(old.images.digests)
    }
