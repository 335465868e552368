"""The shards of a run joined into the file that one machine would have made of all images, array by array.

Tables are read and written again: every stage that opens the file reads them whole, so that referring to those of the
shards would save nothing. Conv maps, nearly all bytes of a features file, stay where they are and are linked to
(`linking`), or are copied as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import images_fingerprint
from sppcli.artefacts.linking import FILES, SEALS
from sppcli.artefacts.schema import SCHEMAS, Field
from sppcli.artefacts.shards import LISTING, SHARD, ShardNote, listing, note_of, shard_of
from sppcli.artefacts.store import Artefact, Header, create, described, open_artefact
from sppcli.artefacts.validity import Values
from sppcli.artefacts.writing import Writer
from sppcli.errors import BadInput, StaleArtefact, UsageProblem
from sppcli.runtime.progress import Progress
from sppcli.runtime.shards import Shard

_OFFSETS = "images + 1"
_DRAWN = {"windows": _OFFSETS, "detections": "image"}
"""Axes along which each image has several rows, and what says how many."""


@dataclass(frozen=True)
class OpenShard:
    """The open file of one shard."""

    artefact: Artefact
    shard: Shard
    note: ShardNote

    @property
    def path(self) -> Path:
        return self.artefact.path

    @property
    def header(self) -> Header:
        return self.artefact.header

    def plain_config(self) -> dict[str, Any]:
        return {name: value for name, value in self.header.config.items() if name != SHARD}


def open_shards(stack: ExitStack, paths: Sequence[Path]) -> list[OpenShard]:
    """Open files that are together all shards of one run, in the order of their numbers.

    Raises:
        MissingInput, BadArtefact: a file is not there or damaged.
        StaleArtefact: a shard is missing or there twice, or one is of another run than the first; names the files.
    """
    found = []
    for path in paths:
        artefact = stack.enter_context(open_artefact(path))
        shard = shard_of(artefact.header)
        if shard is None:
            raise StaleArtefact(f"{path} is whole, and no shard of a run; name files that --shard made")
        with described(artefact):
            found.append(OpenShard(artefact, shard, note_of(artefact.header)))
    first = found[0]
    for other in found[1:]:
        difference = _difference(first, other)
        if difference:
            raise StaleArtefact(
                f"{other.path} is no shard of the same run as {first.path}: {difference}; merge those of one run"
            )
    by_number: dict[int, OpenShard] = {}
    for item in found:
        twice = by_number.setdefault(item.shard.number, item)
        if twice is not item:
            raise StaleArtefact(f"{twice.path} and {item.path} are both shard {item.shard}; leave one of them out")
    missing = [shard for shard in Shard.all(first.shard.of) if shard.number not in by_number]
    if missing:
        names = ", ".join(str(shard) for shard in missing[:5]) + (" …" if len(missing) > 5 else "")
        kind = SCHEMAS[first.header.kind].made_by
        raise StaleArtefact(
            f"{first.path} is one of {first.shard.of} shards, and {len(missing)} of them are missing ({names}); make "
            f"them with {kind} --shard {missing[0]}"
        )
    return [by_number[number] for number in sorted(by_number)]


def _difference(first: OpenShard, other: OpenShard) -> str:
    """In what two shards cannot be of one run; "" if in nothing."""
    a, b = first.header, other.header
    if a.kind != b.kind:
        return f"it holds {b.kind}, not {a.kind}"
    if first.shard.of != other.shard.of:
        return f"it is one of {other.shard.of} shards, not of {first.shard.of}"
    before, after = first.plain_config(), other.plain_config()
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            return f"{name} is {_short(after.get(name))}, not {_short(before.get(name))}"
    for name in sorted({*a.inputs, *b.inputs} - {"images"}):
        if a.inputs.get(name) != b.inputs.get(name):
            what = "other images" if name == LISTING else f"another {name}"
            return f"it was made from {what} ({str(b.inputs.get(name))[:8]}, not {str(a.inputs.get(name))[:8]})"
    return ""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def merged_header(shards: Sequence[OpenShard], values: Sequence[Values]) -> Header:
    """The header that one machine would have given to the file of all images.

    Raises:
        StaleArtefact: the images in the shards are not those of the run.
    """
    first = shards[0]
    rows = sorted(
        (image_id, path, digest)
        for item, found in zip(shards, values, strict=True)
        for image_id, path, digest in [
            *zip(found["image_ids"], found["paths"], found.get("digests") or repeat(""), strict=False),
            *((left.id, left.path, left.digest) for left in item.note.left_out),
        ]
    )
    with described(first.artefact):
        listed = first.header.inputs[LISTING]
    if listing([row[0] for row in rows], [row[1] for row in rows]) != listed:
        raise StaleArtefact(f"{first.path} and its {len(shards) - 1} fellow shards do not hold the images of their run")
    inputs = {name: value for name, value in first.header.inputs.items() if name != LISTING}
    if "images" in inputs and "proposals" not in inputs:
        inputs["images"] = images_fingerprint(rows)
    summary = {name: value for name, value in first.header.summary.items() if name != SHARD}
    return replace(first.header, config=first.plain_config(), inputs=inputs, summary=summary)


def write_merged(
    output: Path,
    header: Header,
    shards: Sequence[OpenShard],
    values: Sequence[Values],
    *,
    copy: bool,
    progress: Progress,
) -> int:
    """Write the file of all images; returns the number of images.

    ``copy``: copy conv maps; else lead to those in the shards.

    Raises:
        UsageProblem: without ``copy``, a shard that does not lie in the folder of ``output`` or below it.
        BadInput: no image is left.
    """
    order = sorted(
        (image_id, number, row)
        for number, found in enumerate(values)
        for row, image_id in enumerate(found["image_ids"])
    )
    if not order:
        raise BadInput(f"{output}: none of the images in the {len(shards)} shards could be used")
    links = bool(SCHEMAS[header.kind].groups) and not copy
    files = [_relative(item.path, output) for item in shards] if links else []
    with create(output, header) as writer:
        merged = _Merged(shards, values, [(number, row) for _, number, row in order])
        for item in SCHEMAS[header.kind].fields:
            if item.dtype == "str":
                writer.strings(item.name, merged.strings(item))
            else:
                writer.array(item.name, merged.array(item))
        if links:
            writer.strings(FILES, files)
            writer.strings(SEALS, [item.artefact.seal for item in shards])
        if SCHEMAS[header.kind].groups:
            _write_groups(writer, shards, merged.order, files, progress)
    return len(order)


def _relative(path: Path, output: Path) -> str:
    folder, shard = output.resolve().parent, path.resolve()
    if not shard.is_relative_to(folder):
        raise UsageProblem(
            f"{path} lies outside {folder}, to which the merged file leads; name -o beside the shards, or give --copy"
        )
    return shard.relative_to(folder).as_posix()


def _write_groups(
    writer: Writer, shards: Sequence[OpenShard], order: Sequence[tuple[int, int]], files: list[str], progress: Progress
) -> None:
    """The data sets of each image, by links to ``files``, or copied if there are none."""
    progress.start(len(order), "images")
    groups = [_groups(item.artefact) for item in shards]
    for index, (number, row) in enumerate(order):
        for group in groups[number]:
            source, target = f"{group}/{row:06d}", f"{group}/{index:06d}"
            if files:
                writer.link(target, files[number], source)
            else:
                writer.copy_from(shards[number].artefact, source, target)
        progress.advance()


def _groups(artefact: Artefact) -> list[str]:
    """The groups that hold a data set of each image."""
    own = {field.name for field in artefact.schema.fields}
    return sorted({name.rpartition("/")[0] for name in artefact.names() if name not in own})


class _Merged:
    """Tables of several shards as one. ``order``: the shard and the row there of each image."""

    def __init__(self, shards: Sequence[OpenShard], values: Sequence[Values], order: Sequence[tuple[int, int]]) -> None:
        self.order = order
        self._shards, self._values = shards, values
        starts = np.cumsum([0, *(len(found["image_ids"]) for found in values)])
        self._rows = np.array([starts[number] + row for number, row in order], dtype=np.int64)

    def strings(self, item: Field) -> list[str]:
        if item.axes[0] == "skipped":
            return self._skipped(item.name)
        if item.axes[0] == "images":
            return [self._values[number][item.name][row] for number, row in self.order]
        return list(self._same(item.name))

    def array(self, item: Field) -> npt.NDArray[Any]:
        axis = item.axes[0]
        if axis == _OFFSETS:
            return np.concatenate([[0], np.cumsum(self._counts("windows"))]).astype(np.int64)
        if item.name == "image":
            return np.repeat(np.arange(len(self.order), dtype=np.int64), self._counts("detections"))
        if axis == "images":
            return np.asarray(np.concatenate([found[item.name] for found in self._values])[self._rows])
        if axis in _DRAWN:
            counts = self._counts(axis, in_order=False)
            starts = np.concatenate([[0], np.cumsum(counts)])
            wanted = counts[self._rows]
            ends = np.cumsum(wanted)
            rows = np.arange(int(wanted.sum())) + np.repeat(starts[self._rows] - (ends - wanted), wanted)
            return np.asarray(np.concatenate([found[item.name] for found in self._values])[rows])
        return np.asarray(self._same(item.name))

    def _counts(self, axis: str, in_order: bool = True) -> npt.NDArray[np.int64]:
        """How many rows each image has along ``axis``: in the merged order, or shard by shard."""
        counts = np.concatenate(
            [
                np.diff(found["offsets"])
                if axis == "windows"
                else np.bincount(found["image"], minlength=len(found["image_ids"]))
                for found in self._values
            ]
        ).astype(np.int64)
        return counts[self._rows] if in_order else counts

    def _same(self, name: str) -> Any:
        """What every shard has alike.

        Raises:
            StaleArtefact: two have it otherwise.
        """
        first = self._values[0][name]
        for item, found in zip(self._shards, self._values, strict=True):
            if not np.array_equal(np.asarray(found[name]), np.asarray(first)):
                raise StaleArtefact(f"{item.path} has other {name} than {self._shards[0].path}; merge those of one run")
        return first

    def _skipped(self, name: str) -> list[str]:
        """Images left out by an earlier stage, which every shard lists, then those left out in the shards."""
        before = list(self._values[0][name][: self._shards[0].note.before])
        mine = sorted((left for item in self._shards for left in item.note.left_out), key=lambda left: left.id)
        return [*before, *(left.path if name == "skipped_names" else left.reason for left in mine)]
