"""How fast work goes and how long it will take, and how times and rates are written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# The rate is that of the last so many seconds.
RATE_SECONDS = 30.0


class Meter:
    """Counts items against a clock: how many are done, how fast, how long it will take.

    Args:
        total: items of the work; 0 if unknown.
        clock: seconds, any origin.
        found: items done before, which are no measure of speed.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic, found: int = 0) -> None:
        self.total = total
        self.done = self.found = found
        self._clock = clock
        self._started = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._started, 0)])

    def advance(self, n: int) -> None:
        now = self._clock()
        self.done += n
        self._samples.append((now, self.done - self.found))
        while len(self._samples) > 2 and now - self._samples[1][0] > RATE_SECONDS:
            self._samples.popleft()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._started

    @property
    def rate(self) -> float | None:
        """Items a second lately, or None before anything can be said."""
        (first, before), (_, after) = self._samples[0], self._samples[-1]
        elapsed = self._clock() - first
        return (after - before) / elapsed if after > before and elapsed > 0 else None

    @property
    def mean_rate(self) -> float | None:
        """Items a second over the whole, without those found."""
        made = self.done - self.found
        return made / self.seconds if made > 0 and self.seconds > 0 else None

    @property
    def remaining(self) -> float | None:
        """Seconds, or None if unknown."""
        rate = self.rate
        return max(0, self.total - self.done) / rate if rate and self.total else None


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rate(value: float | None) -> str:
    """Three digits; ``?`` where nothing is known yet."""
    if value is None:
        return "?"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


def unit_of(count: int, plural: str) -> str:
    """The name of a unit after ``count``: ``image`` after 1, else ``images`` as given."""
    if count != 1:
        return plural
    noun, blank, rest = plural.partition(" ")
    one = noun.removesuffix("es") if noun.endswith(("sses", "ches", "xes")) else noun.removesuffix("s")
    return f"{one}{blank}{rest}"


def about(seconds: float) -> str:
    """A forecast, no more exact than it is: ``40 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size_text(size: float) -> str:
    """Bytes as ``12 kB``, ``340 MB``, ``2.9 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
