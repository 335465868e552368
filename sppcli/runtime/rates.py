"""What earlier runs took on this machine, kept in the user's cache folder, and what that foretells.

A measurement belongs to a kind of work ("extract with squeezenet1_0") and says how many units of it there were (pixels,
images x classes), so that another amount of the same work can be forecast in proportion.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.files import user_cache

REACH = 20
"""A run foretells one of up to so many times as much work; from a smaller one nothing can be said."""
START = 3.0
"""Seconds of a stage that do not depend on the amount of work: imports, compiling."""
KEPT = 400
"""Measurements in the file; the oldest go first."""


@dataclass(frozen=True)
class Measured:
    """One piece of work. ``seconds`` of wall clock, ``memory`` (peak, main process) and ``disk`` in bytes;
    ``forecast``: seconds that were foretold for it, or None."""

    machine: str
    stage: str
    kind: str
    units: float
    seconds: float
    memory: int
    disk: int
    forecast: float | None = None


@dataclass(frozen=True)
class Forecast:
    """``seconds``, ``memory`` and ``disk`` as in `Measured`; ``known``: from runs of this machine."""

    seconds: float
    memory: int
    disk: int
    known: bool


def machine() -> str:
    """Name of this machine with its number of usable cores: the cache folder may be shared by several."""
    return f"{platform.node()}, {cpu_threads()} cores"


def rates_file() -> Path:
    """Where measurements are kept: ``sppcli/rates.json`` in XDG_CACHE_HOME, or else in ``~/.cache``."""
    return user_cache() / "sppcli" / "rates.json"


class Rates:
    """The measurements of one file. A file that cannot be read or written costs forecasts, and nothing else."""

    def __init__(self, path: Path | None = None, here: str | None = None) -> None:
        self.path = path or rates_file()
        self.here = here or machine()
        self.all = list(_read(self.path))

    def measured(self, stage: str) -> list[Measured]:
        """Those of this machine, the latest last."""
        return [item for item in self.all if item.machine == self.here and item.stage == stage]

    def forecast(self, stage: str, kind: str, units: float) -> Forecast | None:
        """From up to five runs of this machine, of the same kind of work or else of the same stage, that were at least
        a `REACH`-th as large; None without any."""
        runs = [item for item in self.measured(stage) if item.units * REACH >= units and item.units > 0]
        runs = ([item for item in runs if item.kind == kind] or runs)[-5:]
        if not runs:
            return None
        # The nearest amounts: what is spent whatever the amount is most nearly right there.
        nearest = min(runs, key=lambda item: abs(item.units - units)).units
        near = [item for item in runs if item.units == nearest]
        seconds = median(item.seconds for item in near)
        start = min(START, seconds / 2)
        share = units / nearest
        return Forecast(
            start + (seconds - start) * share,
            max(item.memory for item in near),
            round(median(item.disk for item in near) * share),
            True,
        )

    def add(self, item: Measured) -> None:
        """Keep ``item``, in the file too."""
        self.all = [*_read(self.path), item][-KEPT:]
        text = json.dumps([asdict(one) for one in self.all], indent=1)
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)

    def error(self) -> tuple[float, int] | None:
        """Median relative error of earlier forecasts on this machine, and their number; None without any."""
        errors = [
            abs(item.forecast / item.seconds - 1)
            for item in self.all
            if item.machine == self.here and item.forecast is not None and item.seconds > 0
        ]
        return (median(errors), len(errors)) if errors else None


def _read(path: Path) -> Iterator[Measured]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        yield from [Measured(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return


class PeakMemory:
    """Peak resident memory of this process since it was made; where the system cannot say, since the process began."""

    def __init__(self) -> None:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def bytes(self) -> int:
        with suppress(OSError, ValueError, IndexError):
            lines: Sequence[str] = Path("/proc/self/status").read_text().splitlines()
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
