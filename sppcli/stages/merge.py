"""Joins the shards of a stage into the file that one machine would have made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sppcli.artefacts.linking import FILES
from sppcli.artefacts.merging import OpenShard, merged_header, open_shards, write_merged
from sppcli.artefacts.merging_models import KINDS, merged_model_header, write_merged_model
from sppcli.artefacts.output import Output, WouldWork, is_asking
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.schema import SCHEMAS
from sppcli.artefacts.store import Header, open_artefact
from sppcli.artefacts.validity import Values, checked_values
from sppcli.errors import UsageProblem
from sppcli.runtime.files import check_room
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.urls import is_by_url


@dataclass(frozen=True)
class MergeSummary:
    """``linked``: the conv maps stay in the shards; ``bytes``: of the merged file, without what it leads to; of linear
    models, ``images`` they were trained on and number of ``classes``."""

    path: Path
    kind: str
    shards: int
    images: int
    skipped: int
    linked: bool
    bytes: int
    up_to_date: bool = False
    classes: int = 0


@one_at_a_time
def run(paths: Sequence[Path], output: Path, *, copy: bool = False, options: RunOptions = USUAL) -> MergeSummary:
    """Join the shards ``paths`` in ``output``, whose content is that of a run without shards, array by array.

    ``copy``: copy conv maps into it, as they are stored; else it leads to those in the shards, which must lie in its
    folder or below and stay there.

    Raises:
        MissingInput, BadArtefact: a file is not there or damaged.
        StaleArtefact: a shard is missing or there twice, or one is of another run; names the files.
        UsageProblem: a shard from which ``output`` cannot lead.
    """
    with ExitStack() as stack:
        shards = open_shards(stack, paths)
        kind = shards[0].header.kind
        claim(output, kind, inputs=paths, overwrite=options.overwrite)
        values = [checked_values(item.artefact) for item in shards]
        if kind in KINDS:
            return _model(output, shards, values, options)
        header = merged_header(shards, values)
        linked = bool(SCHEMAS[kind].groups) and not copy
        if linked and any(map(is_by_url, (output, *paths))):
            raise UsageProblem(f"{output} cannot lead to the conv maps in shards by URL; give --copy")
        images = sum(len(found["image_ids"]) for found in values)
        skipped = sum(len(item.note.left_out) for item in shards)
        current = _is_current(output, header, paths, linked, options.force) and _lists(output, values)
        if not current:
            if is_asking():
                raise WouldWork(str(output))
            if not linked:
                size = sum(item.path.stat().st_size for item in shards)
                warning = check_room(output, size * 9 // 10, size)
                if warning:
                    options.progress.warn(warning)
            write_merged(output, header, shards, values, copy=copy, progress=options.progress)
    return MergeSummary(output, kind, len(shards), images, skipped, linked, output.stat().st_size, current)


def _model(output: Path, shards: Sequence[OpenShard], values: Sequence[Values], options: RunOptions) -> MergeSummary:
    """Join linear models, whose shards have some of the classes each."""
    header = merged_model_header(shards)
    current = Output(output, header, [item.path for item in shards]).is_current(options.force)
    if not current:
        write_merged_model(output, header, values)
    images, classes = int(header.summary["images"]), len(header.summary["classes"])
    return MergeSummary(output, header.kind, len(shards), images, 0, False, output.stat().st_size, current, classes)


def _lists(output: Path, values: Sequence[Values]) -> bool:
    """Whether ``output`` has the images of the shards: one that was left out may have been made since."""
    with open_artefact(output) as there:
        return sorted(there.strings("image_ids")) == sorted(name for found in values for name in found["image_ids"])


def _is_current(output: Path, header: Header, paths: Sequence[Path], linked: bool, force: bool) -> bool:
    """Whether ``output`` holds what is to be made, with conv maps by links or not as is asked for."""
    if not Output(output, header, paths).is_current(force):
        return False
    with open_artefact(output) as there:
        return (FILES in there) == linked
