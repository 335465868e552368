"""Runs the parts of `spp bench` in turn: a part is a module of this package with ``rows(machine) -> list[Row]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from sppcli.bench.measure import Machine, Row, this_machine
from sppcli.errors import UsageProblem
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.progress import NoProgress, Progress

# In the order in which they are measured and printed; each is imported when it is measured.
PARTS: tuple[str, ...] = ("start", "search", "conv", "pool", "fc", "svm", "joint", "evaluation")


@dataclass(frozen=True)
class Measurement:
    """A row of the part ``part``, and its ratios: None where there is no floor or peer."""

    part: str
    row: Row
    over_floor: float | None
    faster_than_peer: float | None


@dataclass(frozen=True)
class BenchReport:
    """Rates of this machine, and what was measured on it, in the order of the parts."""

    machine: Machine
    measurements: tuple[Measurement, ...]


@kept_memory()
def run(parts: Sequence[str] | None = None, *, progress: Progress | None = None) -> BenchReport:
    """Measure the rates of this machine, then ``parts`` (default: all) in the order of `PARTS`.

    Raises:
        UsageProblem: there is no such part.
    """
    progress = progress or NoProgress()
    unknown = [name for name in parts or () if name not in PARTS]
    if unknown:
        raise UsageProblem(f"spp bench has no part {unknown[0]}; it has {', '.join(PARTS)}")
    chosen = [name for name in PARTS if parts is None or name in parts]
    progress.start(1 + len(chosen), "parts")
    progress.note("rates of this machine")
    machine = this_machine()
    progress.advance()
    found: list[Measurement] = []
    for name in chosen:
        progress.note(name)
        rows: list[Row] = import_module(f"sppcli.bench.{name}").rows(machine)
        found += [Measurement(name, row, row.over_floor, row.faster_than_peer) for row in rows]
        progress.advance()
    return BenchReport(machine, tuple(found))
