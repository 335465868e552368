"""Images to proposals.h5: the windows of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.output import Output
from sppcli.artefacts.proposals import read_proposals, source_json, write_proposals
from sppcli.artefacts.store import Header, Parts, digest_of
from sppcli.datasets import Dataset, open_dataset
from sppcli.datasets.describe import describe
from sppcli.errors import BadArtefact, BadInput, SppError
from sppcli.images import digest, read_bytes
from sppcli.proposals.edges import open_forest
from sppcli.proposals.imports import Imported, open_import
from sppcli.proposals.propose import SELECTIVE_SEARCH, ProposeConfig, propose_image
from sppcli.proposals.union import unite
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.processes import run_many
from sppcli.runtime.progress import Progress
from sppcli.structures import Boxes, FloatArray, ImageItem, Skipped


@dataclass(frozen=True)
class ProposeSummary:
    """``found``: images searched now; ``kept``: taken over from an earlier run; ``up_to_date``: nothing was to do.

    ``imported``: windows taken from each file of ``imports``.
    """

    path: Path
    images: int
    windows: int
    found: int
    kept: int
    skipped: tuple[Skipped, ...]
    up_to_date: bool = False
    dry_run: bool = False
    imported: dict[str, int] = field(default_factory=dict)


def run(
    sources: Sequence[Path],
    output: Path,
    config: ProposeConfig,
    *,
    imports: Sequence[Path] = (),
    options: RunOptions = USUAL,
    split_seed: int = 0,
    unlabelled: Literal["skip", "empty"] | None = None,
) -> ProposeSummary:
    """Search every image of ``sources`` and write ``output``.

    Images that an unfinished run, or an earlier ``output`` of the same options, has searched already are not searched
    again; they are known by content. A damaged image is skipped, warned of and listed in the file. The windows in
    the files ``imports`` are added (`union.unite`); without methods in ``config``, images that no file has windows of
    are skipped too. ``split_seed`` and ``unlabelled`` are recorded for the stages that follow; see `Dataset`.

    Raises:
        MissingInput, BadInput: nothing to search, no edge model, or an import that cannot be used; with ``strict``, the
            first damaged image or imperfect import.
    """
    progress = options.progress
    dataset = open_dataset(sources)
    dataset.split_seed, dataset.unlabelled = split_seed, unlabelled
    digests = _digests(dataset.images)
    dataset.digests.update((item.id, value) for item, value in zip(dataset.images, digests, strict=True))
    _say_what_is_there(dataset, progress)
    for warning in dataset.remarks():
        if options.strict:
            raise BadInput(warning)
        progress.warn(warning)
    relative = [_relative(item.path, dataset.root) for item in dataset.images]
    files = [open_import(path, dataset.images, dataset.root, digests) for path in imports]
    if config.edge_model:
        open_forest(config.edge_model)
        config = replace(config, edge_model_digest=digest(read_bytes(Path(config.edge_model))))
    config = replace(config, imports=tuple(file.digest for file in files))
    settings = config.settings()
    header = Header(
        "proposals",
        settings,
        {
            "images": digest_of(
                [list(row) for row in zip((i.id for i in dataset.images), relative, digests, strict=True)]
            )
        },
        source_json(dataset.kind, [str(path) for path in dataset.sources], str(dataset.root))
        | ({"split_seed": split_seed} if split_seed else {})
        | ({"unlabelled": unlabelled} if unlabelled else {})
        | ({"edge_model": str(Path(config.edge_model).absolute())} if config.edge_model else {})
        | (
            {"imports": [{"path": str(file.path.absolute()), "method": file.method} for file in files]} if files else {}
        ),
    )
    if Output(output, header, [item.path for item in dataset.images], same_source=True).is_current(options.force):
        old = read_proposals(output)
        return ProposeSummary(output, len(old.images), len(old.boxes), 0, len(old.images), old.images.skipped, True)
    # An earlier file that windows were imported into does not say which ones a search found.
    known = {} if options.force or files else _known(output, header)
    parts = None if options.dry_run else Parts(output, digest_of({"config": settings}), discard=options.force)
    without = _without_windows(digests, config, files)
    todo = [
        i
        for i, value in enumerate(digests)
        if value not in known and value not in without and (parts is None or not parts.has(value))
    ]
    if parts is None:
        return ProposeSummary(output, len(digests), 0, len(todo), len(digests) - len(todo), (), dry_run=True)
    # A content that occurs twice is searched once.
    todo = list({digests[i]: i for i in reversed(todo)}.values())[::-1]
    problems: dict[int, str] = {}
    if todo and SELECTIVE_SEARCH in config.methods:
        from sppcli.proposals.selective_search.warm_up import prepare

        prepare(config.engine, options.jobs, progress)
    progress.start(len(todo), "images")
    search = partial(propose_image, config=config)
    for position, windows in run_many(search, [dataset.images[i] for i in todo], options.jobs):
        index = todo[position]
        if windows.problem:
            if options.strict:
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
    bad |= without
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
    if files:
        found = _with_imports(good, found, sizes, config, files)
        for file in files:
            faults = file.faults([item.id for item in dataset.images])
            if options.strict and faults:
                raise BadInput(faults[0])
            for remark in (*faults, *file.notes(config.max_proposals)):
                progress.warn(remark)
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
    taken = {str(file.path): file.windows for file in files}
    return ProposeSummary(output, len(good), windows_found, searched, len(digests) - len(todo), skipped, imported=taken)


def _say_what_is_there(dataset: Dataset, progress: Progress) -> None:
    """One line on the data set; an annotation that cannot be read is no reason not to search its image."""
    try:
        progress.say(describe(dataset))
    except BadInput as error:
        dataset.warnings.append(f"annotations cannot be read: {error}")


def _without_windows(digests: Sequence[str], config: ProposeConfig, files: Sequence[Imported]) -> dict[str, str]:
    """Why images that no method searches and no file has windows of are left out, by content."""
    if config.methods:
        return {}
    have = {digests[i] for file in files for i in file.rows}
    reason = f"no proposals in {', '.join(str(file.path) for file in files)}"
    return {value: reason for value in digests if value not in have}


def _with_imports(
    rows: Sequence[int],
    found: Sequence[tuple[Boxes, FloatArray]],
    sizes: Sequence[npt.NDArray[np.int64]],
    config: ProposeConfig,
    files: Sequence[Imported],
) -> list[tuple[Boxes, FloatArray]]:
    """``found`` of the images ``rows`` with what each of ``files`` has for them."""
    united = []
    for row, searched, size in zip(rows, found, sizes, strict=True):
        added = [file.take(row, size, config.max_proposals) for file in files]
        united.append(unite([searched, *added] if config.methods else added))
    return united


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
