"""From images to proposals.h5: the region proposals of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.parts import Parts, discard_finished
from sppcli.artefacts.proposals import read_proposals, source_json, write_proposals
from sppcli.artefacts.shards import for_shard
from sppcli.artefacts.store import Header, digest_of
from sppcli.datasets import Dataset, open_dataset
from sppcli.datasets.describe import describe
from sppcli.detection.per_image import ListedImages, PerImage
from sppcli.errors import BadArtefact, BadInput
from sppcli.images import digest, read_bytes
from sppcli.proposals.edges import open_forest
from sppcli.proposals.imports import Imported, open_import
from sppcli.proposals.propose import SELECTIVE_SEARCH, ProposeConfig, Windows, propose_image
from sppcli.proposals.union import unite
from sppcli.runtime.attempts import Attempts
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.processes import run_many
from sppcli.runtime.shards import Shard, rows_of
from sppcli.structures import ImageItem, Skipped


@dataclass(frozen=True)
class ProposeSummary:
    """``found``: images searched now; ``kept``: taken over from an earlier run; ``up_to_date``: nothing had to be done.

    ``imported``: proposals taken from each file of ``imports``.
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


@one_at_a_time
def run(
    sources: Sequence[Path],
    output: Path,
    config: ProposeConfig,
    *,
    imports: Sequence[Path] = (),
    options: RunOptions = USUAL,
    split_seed: int = 0,
    unlabelled: Literal["skip", "empty"] | None = None,
    shard: Shard | None = None,
) -> ProposeSummary:
    """Search every image of ``sources`` and write ``output``.

    Images that an unfinished run, or an earlier ``output`` of the same options, has searched already are not searched
    again; they are known by content. A damaged image is skipped, warned of and listed in the file. The proposals in
    the files ``imports`` are added (`union.unite`); without methods in ``config``, images that no file has proposals of
    are skipped too. ``split_seed`` and ``unlabelled`` are recorded for the stages that follow; see `Dataset`. With
    ``shard`` only its images are searched, and ``output`` is to be merged with the others.

    Raises:
        MissingInput, BadInput: nothing to search, no edge model, or an import that cannot be used; with ``strict``, the
            first damaged image or imperfect import.
    """
    dataset = open_dataset(sources)
    dataset.split_seed, dataset.unlabelled = split_seed, unlabelled
    claim(
        output,
        "proposals",
        inputs=[*imports, *([Path(config.edge_model)] if config.edge_model else [])],
        data=dataset,
        overwrite=options.overwrite,
    )
    images = _listed(dataset, shard)
    # A file that cannot be used is reported before anything is said of the images.
    files = [open_import(path, dataset.images, dataset.root, images.digests, shard is not None) for path in imports]
    if config.edge_model:
        open_forest(config.edge_model)
        config = replace(config, edge_model_digest=digest(read_bytes(Path(config.edge_model))))
    _say_what_is_there(dataset, options)
    config = replace(config, imports=tuple(file.digest for file in files))
    header = _header(dataset, config, files, images, shard)
    made_with = digest_of({"config": header.config})
    if Output(output, header, [item.path for item in dataset.images], same_source=True).is_current(options.force):
        return _as_it_is(output, made_with, images, options)
    work = PerImage.of_shard(images, images.digests, shard, output, options)
    _leave_out_without_windows(work, config, files)
    # An earlier file that proposals were imported into does not say which ones a search found.
    known = {} if options.force or files else _known(output, header)
    if options.dry_run:
        todo = work.todo(known.__contains__)
        return ProposeSummary(output, len(work), 0, len(todo), len(work) - len(todo), (), dry_run=True)
    parts = Parts(output, made_with, discard=options.force)
    todo = work.todo(lambda key: key in known or parts.has(key))
    _search_all(work, todo, dataset, config, parts)
    good = work.good()
    found = [_read_part(parts, images.digests[row]) or known[images.digests[row]] for row in good]
    if files:
        found = _with_imports(good, found, config, files)
        _report(files, {row: images.ids[row] for row in rows_of(shard, images.ids)}, config, options)
    table = work.table(images, good, np.array([item.size for item in found]))
    write_proposals(output, work.noted(header, images), table, [(item.boxes, item.scores) for item in found])
    parts.discard()
    work.attempts.discard()
    return ProposeSummary(
        output,
        len(good),
        sum(len(item.boxes) for item in found),
        work.succeeded(todo),
        len(work) - len(todo),
        table.skipped,
        imported={str(file.path): file.windows for file in files},
    )


def _as_it_is(output: Path, made_with: str, images: ListedImages, options: RunOptions) -> ProposeSummary:
    """What ``output``, which has all of ``images``, holds."""
    if not options.dry_run:
        discard_finished(output, made_with, set(images.digests).__contains__)
    old = read_proposals(output)
    return ProposeSummary(output, len(old.images), len(old.boxes), 0, len(old.images), old.images.skipped, True)


def _source(dataset: Dataset, config: ProposeConfig, files: Sequence[Imported]) -> dict[str, Any]:
    """Where the images and what is needed beside them were found."""
    source = source_json(dataset.kind, [str(path) for path in dataset.sources], str(dataset.root))
    if dataset.split_seed:
        source["split_seed"] = dataset.split_seed
    if dataset.unlabelled:
        source["unlabelled"] = dataset.unlabelled
    if config.edge_model:
        source["edge_model"] = str(Path(config.edge_model).absolute())
    if files:
        source["imports"] = [{"path": str(file.path.absolute()), "method": file.method} for file in files]
    return source


def _leave_out_without_windows(work: PerImage, config: ProposeConfig, files: Sequence[Imported]) -> None:
    """Leave out images that no method searches and no file has proposals of."""
    if config.methods:
        return
    have = {work.keys[row] for file in files for row in file.rows}
    reason = f"no proposals in {', '.join(str(file.path) for file in files)}"
    for row, key in enumerate(work.keys):
        if key not in have:
            work.leave_out(row, reason)


def _header(
    dataset: Dataset, config: ProposeConfig, files: Sequence[Imported], images: ListedImages, shard: Shard | None
) -> Header:
    inputs = {"images": images.fingerprint(shard)}
    whole = Header("proposals", config.settings(), inputs, _source(dataset, config, files))
    return for_shard(whole, shard, images.ids, images.paths)


def _listed(dataset: Dataset, shard: Shard | None) -> ListedImages:
    images = ListedImages.of(dataset.images, dataset.root, shard)
    if shard is None:
        dataset.digests.update(zip(images.ids, images.digests, strict=True))
    return images


def _search_all(work: PerImage, todo: Sequence[int], dataset: Dataset, config: ProposeConfig, parts: Parts) -> None:
    """Search the images ``todo`` into ``parts``, in their turns."""
    _prepare(work, todo, config)
    for rows in work.turns(todo):
        _search(work, rows, [dataset.images[row] for row in rows], config, parts)


def _search(
    work: PerImage, rows: Sequence[int], images: Sequence[ImageItem], config: ProposeConfig, parts: Parts
) -> None:
    """Search ``images``, of the given rows, into ``parts``."""
    search = partial(_search_one, config=config, attempts=work.attempts)
    named = [(item, work.paths[row]) for row, item in zip(rows, images, strict=True)]
    for position, windows in run_many(search, named, work.options.jobs):
        if windows.problem:
            work.skip(rows[position], BadInput(windows.problem))
        else:
            with parts.create(work.keys[rows[position]]) as part:
                part.array("boxes", windows.boxes)
                part.array("scores", windows.scores)
                part.array("size", np.array(windows.size, dtype=np.int64))
        work.options.progress.advance()


def _prepare(work: PerImage, rows: Sequence[int], config: ProposeConfig) -> None:
    """Get ready to search the images of ``rows``."""
    if rows and SELECTIVE_SEARCH in config.methods:
        from sppcli.proposals.selective_search.warm_up import prepare

        prepare(config.engine, work.options.jobs, work.options.progress)
    work.options.progress.start(len(rows), "images")


def _search_one(named: tuple[ImageItem, str], config: ProposeConfig, attempts: Attempts) -> Windows:
    """In a process that may be killed by the image."""
    item, name = named
    with attempts.of(name):
        return propose_image(item, config)


def _say_what_is_there(dataset: Dataset, options: RunOptions) -> None:
    """One line on the data set, and its warnings; an annotation that cannot be read is no reason not to search.

    Raises:
        BadInput: the first warning, with ``--strict``.
    """
    try:
        options.progress.say(describe(dataset))
    except BadInput as error:
        dataset.warnings.append(f"annotations cannot be read: {error}")
    for warning in dataset.remarks():
        if options.strict:
            raise BadInput(warning)
        options.progress.warn(warning)


def _read_part(parts: Parts, key: str) -> Windows | None:
    if not parts.has(key):
        return None
    with parts.open(key) as part:
        height, width = part.array("size")
        return Windows(part.array("boxes"), part.array("scores"), (int(height), int(width)))


def _with_imports(
    rows: Sequence[int], found: Sequence[Windows], config: ProposeConfig, files: Sequence[Imported]
) -> list[Windows]:
    """``found`` of the images ``rows`` with what each of ``files`` has for them."""
    united = []
    for row, searched in zip(rows, found, strict=True):
        added = [file.take(row, np.array(searched.size), config.max_proposals) for file in files]
        searches = [(searched.boxes, searched.scores)] if config.methods else []
        united.append(Windows(*unite([*searches, *added]), searched.size))
    return united


def _report(files: Sequence[Imported], ids: Mapping[int, str], config: ProposeConfig, options: RunOptions) -> None:
    """Say what of the imported files was not as it should be.

    Raises:
        BadInput: something of it is a fault, with ``--strict``.
    """
    for file in files:
        faults = file.faults(ids)
        if options.strict and faults:
            raise BadInput(faults[0])
        for remark in (*faults, *file.notes(config.max_proposals)):
            options.progress.warn(remark)


def _known(output: Path, header: Header) -> dict[str, Windows]:
    """Proposals by image content from an earlier file of the same options."""
    if not output.exists():
        return {}
    try:
        old = read_proposals(output)
    except BadArtefact:
        # What is there is no proposals file: it is about to be replaced by one.
        return {}
    if old.header.config != header.config:
        return {}
    sizes = [(int(height), int(width)) for height, width in old.images.sizes]
    return {
        value: Windows(old.of(i), old.scores[old.offsets[i] : old.offsets[i + 1]], sizes[i])
        for i, value in enumerate(old.images.digests)
    }
