"""A stage's shards worked on elsewhere, seen from here as if it ran here: one progress, one list of warnings.

This module knows no engine. It is given one that runs a function over items on other machines (`Engine`; `cluster` is
one), and the engine knows nothing of stages.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sppcli.errors import BadInput, StaleArtefact
from sppcli.runtime.options import RunOptions
from sppcli.runtime.progress import NoProgress, Progress
from sppcli.runtime.shards import Shard

Item = TypeVar("Item")
Event = tuple[str, Any]
Report = Callable[[Event], None]
"""What a function on another machine tells the one that asked for it; raises where the work is no longer wanted."""

PACKAGES = (
    "sppcli",
    "numpy",
    "scipy",
    "scikit-learn",
    "opencv-contrib-python",
    "pillow",
    "numba",
    "h5py",
    "torch",
    "torchvision",
)
"""Whose versions decide what a stage makes."""
_EVERY = 0.5
"""Seconds between two reports of progress."""


class Engine(Protocol):
    """Runs functions on other machines."""

    def check(self, function: Callable[[], str]) -> None:
        """Run ``function`` on every worker that is there.

        Raises:
            SppError: it found something wrong, which it returned; names the worker.
        """

    def run_many(
        self, function: Callable[[Item, Report], Any], items: Sequence[Item], heard: Callable[[int, str, Event], None]
    ) -> Iterator[tuple[int, Any]]:
        """Yield ``(index, function(item, report))`` as results come, in no particular order.

        ``heard`` is told, in the caller's thread, what an item's function reports: its index, the worker and the event.
        """


@dataclass(frozen=True)
class Here:
    """What must be the same on another machine: ``versions`` of packages, ``files`` by the SHA-256 of their content,
    and the ``folder`` that work is done in, which holds the file ``mark``."""

    versions: Mapping[str, str]
    files: Mapping[str, str]
    folder: Path
    mark: Path

    @classmethod
    def of(cls, files: Sequence[Path], mark: Path) -> Here:
        return cls(
            versions(), {str(path): _digest(path) for path in files if path.is_file()}, Path.cwd(), mark.absolute()
        )

    def difference(self) -> str:
        """In what this machine differs; "" if in nothing that counts."""
        mine = versions()
        for name, wanted in self.versions.items():
            if mine[name] != wanted:
                return f"has {name} {mine[name] or 'not at all'}, and {wanted} is used here; install the same there"
        if not self.mark.is_file() or not self.folder.is_dir():
            return f"does not see {self.mark.parent}; a cluster needs a file system that all its machines share"
        for name, wanted in self.files.items():
            path = self.folder / name
            if not path.is_file():
                return f"does not see {path}; a cluster needs a file system that all its machines share"
            if _digest(path) != wanted:
                return f"reads other bytes from {path} than are read here; bring both to the same version"
        return ""


def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`, "" for those that are not installed."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    # A checkout that is not installed has no metadata, or an older version's.
    package = __name__.partition(".")[0]
    return {**found, package: str(sys.modules[package].__version__)}


_DIGESTS: dict[tuple[str, int, int], str] = {}


def _digest(path: Path) -> str:
    """SHA-256 (hex) of a file, read once as long as its time and size stay the same."""
    state = path.stat()
    key = (os.path.realpath(path), state.st_mtime_ns, state.st_size)
    if key not in _DIGESTS:
        found = sha256()
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                found.update(data)
        _DIGESTS[key] = found.hexdigest()
    return _DIGESTS[key]


@dataclass(frozen=True)
class Work:
    """A stage as a function of ``output``, ``shard`` and ``options``, and where and how it is run.

    ``visits``: of one that goes over the images several times, how many it goes through in all; 0 of the others.
    """

    stage: Callable[..., Any]
    output: Path
    here: Here
    options: RunOptions
    visits: int = 0


def work_on(shard: Shard, report: Report, work: Work) -> Any:
    """Make the file of ``shard``, on the machine that is to do it; returns the stage's summary.

    Raises:
        StaleArtefact: the machine differs from the one that asked in something that counts.
    """
    difference = work.here.difference()
    if difference:
        raise StaleArtefact(f"this machine {difference}")
    before = Path.cwd()
    os.chdir(work.here.folder)
    try:
        told = _ToldOnce(report, work.visits) if work.visits else _Told(report)
        made = work.stage(output=shard.path(work.output), shard=shard, options=replace(work.options, progress=told))
        told.flush()
        return made
    finally:
        os.chdir(before)


class _Told:
    """Progress that is reported to another machine."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._done = 0
        self._time = 0.0

    def start(self, total: int, unit: str, found: int = 0) -> None:
        self.flush()
        self._report(("start", total))

    def advance(self, n: int = 1) -> None:
        self._done += n
        if time.monotonic() - self._time >= _EVERY:
            self.flush()

    def flush(self) -> None:
        self._time = time.monotonic()
        self._report(("advance", self._done))
        self._done = 0

    def note(self, text: str) -> None:
        self._report(("note", text))

    def say(self, text: str) -> None:
        self._report(("say", text))

    def warn(self, text: str) -> None:
        self._report(("warn", text))


class _ToldOnce(_Told):
    """Several passes over the images as one piece of work; what is counted in other units shows that it goes on."""

    def __init__(self, report: Report, visits: int) -> None:
        super().__init__(report)
        self._visits = visits
        self._counts = False

    def start(self, total: int, unit: str, found: int = 0) -> None:
        if self._visits:
            super().start(self._visits, "images")
            self._visits = 0
        self._counts = unit == "images"

    def advance(self, n: int = 1) -> None:
        super().advance(n if self._counts else 0)


class _Heard:
    """What all shards report, as the progress of one run. ``sizes``: images of each shard."""

    def __init__(self, progress: Progress, shards: Sequence[Shard], sizes: Sequence[int]) -> None:
        self._progress, self._shards, self._sizes = progress, shards, sizes
        self._done = [0] * len(sizes)
        self._again = [0] * len(sizes)
        self._of_first = [-1] * len(sizes)
        self._workers: dict[int, str] = {}
        self._said: set[str] = set()
        progress.start(sum(sizes), "images")

    def __call__(self, index: int, worker: str, event: Event) -> None:
        what, value = event
        before = self._workers.setdefault(index, worker)
        if before != worker:
            self._workers[index] = worker
            self._progress.warn(f"shard {self._shards[index]}: {worker} goes on where {before} was lost")
        if what == "start":
            self._start(index, value)
        elif what == "advance":
            again = min(value, self._again[index])
            self._again[index] -= again
            self._advance(index, value - again)
        elif what == "note":
            self._progress.note(value)
        elif value not in self._said:
            # Every shard has the same to say of the data set.
            self._said.add(value)
            self._progress.warn(value) if what == "warn" else self._progress.say(value)

    def finished(self, index: int) -> None:
        self._advance(index, self._sizes[index] - self._done[index])

    def _start(self, index: int, todo: int) -> None:
        """``todo`` images are left of those that the first worker began with; what it counted beyond is done again."""
        if self._of_first[index] < 0:
            self._of_first[index] = todo
        self._again[index] = max(0, self._done[index] - (self._of_first[index] - todo))

    def _advance(self, index: int, n: int) -> None:
        n = min(n, self._sizes[index] - self._done[index])
        if n > 0:
            self._done[index] += n
            self._progress.advance(n)


def run_shards(
    engine: Engine,
    stage: Callable[..., Any],
    shards: Sequence[Shard],
    output: Path,
    *,
    sizes: Sequence[int],
    inputs: Sequence[Path],
    options: RunOptions,
    visits: int = 0,
) -> list[Any]:
    """Make the files of ``shards`` beside ``output``, a whole run's; returns the stage's summary of each.

    Args:
        stage: takes ``output``, ``shard`` and ``options``, and can be sent to other machines.
        sizes: images of each shard.
        visits: see `Work`.
        inputs: files that all machines must see alike.

    Raises:
        SppError: what the stage raises, or a machine that cannot do the work.
    """
    mark = output.parent / ".shared"
    mark.touch()
    try:
        remote = replace(options, progress=NoProgress(), wait=True)
        work = Work(stage, output.absolute(), Here.of(inputs, mark), remote, visits)
        engine.check(work.here.difference)
        heard = _Heard(options.progress, shards, sizes)
        made: list[Any] = [None] * len(shards)
        for index, summary in engine.run_many(partial(work_on, work=work), shards, heard):
            made[index] = summary
            heard.finished(index)
    finally:
        mark.unlink(missing_ok=True)
    return made


_SUMMED = {"images", "windows", "found", "kept", "extracted", "stored_bytes", "computed", "detections"}


def together(summaries: Sequence[Any], output: Path) -> Any:
    """The summary of a whole run from those of its shards: counts are added, what is alike stays."""
    first = summaries[0]
    values: dict[str, Any] = {}
    for name in (item.name for item in fields(first)):
        each = [getattr(summary, name) for summary in summaries]
        if name in ("path", "output"):
            values[name] = output
        elif name in _SUMMED:
            values[name] = sum(each)
        elif name == "skipped":
            values[name] = tuple(dict.fromkeys(item for items in each for item in items))
        elif name == "imported":
            values[name] = {file: sum(counts.get(file, 0) for counts in each) for file in each[0]}
        elif name == "up_to_date":
            values[name] = all(each)
    return replace(first, **values)


SHARDS = ".shards"
"""What the name of the folder of a cluster's shards ends with."""


def shards_folder(output: Path) -> Path:
    """Where the shards of ``output`` lie that a cluster makes."""
    return output.with_name(output.name + SHARDS)


def number_of_shards(folder: Path, asked: int | None, usual: int) -> int:
    """How many shards to make: as asked for; else as many as an earlier run has begun in ``folder``; else ``usual``.

    Raises:
        BadInput: those in ``folder`` are of several numbers.
    """
    if asked:
        return asked
    found = {int(path.name.rpartition("-of-")[2].partition(".")[0]) for path in folder.glob("*.shard-*-of-*.*")}
    if len(found) > 1:
        raise BadInput(
            f"{folder}: holds shards of {len(found)} runs; remove those that are not wanted, or give --shards"
        )
    return next(iter(found), usual)
