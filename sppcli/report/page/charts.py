"""Charts as inline SVG. Colours are left to the page's style sheet, so that they follow its light or dark scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

Float64 = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 300, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 10, 10, 34
_FLAT = 0.02


@dataclass(frozen=True)
class Line:
    """A curve: ``x``, ``y`` (N,) float64, points with NaN left out; ``kind``: its class in the style sheet."""

    name: str
    x: Float64
    y: Float64
    kind: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over one pair of axes; ``y`` goes from 0 to 1.

    ``alt``: what the chart shows, in words; ``low``, ``high``: ends of the x axis; ``marks``: (kind, data attributes)
    of a line across or a point that the page's script moves; ``diagonal``: draw y = x too.
    """

    x_title: str
    y_title: str
    alt: str
    lines: Sequence[Line]
    low: float = 0.0
    high: float = 1.0
    cursor: bool = False
    point: int | None = None
    diagonal: bool = False
    bars: Sequence[tuple[float, float, float]] = field(default=())

    def svg(self) -> Markup:
        parts = [
            Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
                _WIDTH, _HEIGHT, self.alt
            )
        ]
        parts += [self._axes()]
        for start, end, height in self.bars:
            x, y = self._x(start), self._y(height)
            parts.append(_tag("rect", "bar", x=x, y=y, width=self._x(end) - x, height=self._y(0) - y))
        if self.diagonal:
            parts.append(_tag("path", "diagonal", d=f"M{self._x(0)} {self._y(0)}L{self._x(1)} {self._y(1)}"))
        parts += [_tag("path", f"line {line.kind}", d=self._path(line)) for line in self.lines]
        span = {"data-low": f"{self.low:g}", "data-high": f"{self.high:g}", "data-from": _LEFT, "data-to": self._x(1e9)}
        if self.cursor:
            parts.append(
                Markup('<path class="cursor" d="M0 {}V{}" {}/>').format(self._y(1), self._y(0), _attributes(span))
            )
        if self.point is not None:
            ends = {"data-class": self.point, "data-bottom": self._y(0), "data-top": self._y(1), **span}
            parts.append(Markup('<circle class="point" r="4.5" {}/>').format(_attributes(ends)))
        return Markup("").join([*parts, Markup("</svg>")])

    def _x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low or 1)
        return round(_LEFT + min(max(share, 0), 1) * (_WIDTH - _LEFT - _RIGHT), 1)

    def _y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - min(max(value, 0), 1) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def _path(self, line: Line) -> str:
        """The line through its points, without those that lie on the same pixel as the one before."""
        known = np.isfinite(line.x) & np.isfinite(line.y)
        points: list[tuple[float, float]] = []
        for x, y in zip(line.x[known].tolist(), line.y[known].tolist(), strict=True):
            here = self._x(x), self._y(y)
            if not points or abs(here[0] - points[-1][0]) + abs(here[1] - points[-1][1]) >= 0.6:
                points.append(here)
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""

    def _axes(self) -> Markup:
        bottom, middle = self._y(0), (_LEFT + _WIDTH - _RIGHT) / 2
        parts = []
        for i in range(6):
            y = self._y(i / 5)
            parts.append(_tag("path", "grid" if i else "axis", d=f"M{_LEFT} {y}H{_WIDTH - _RIGHT}"))
            parts.append(_text(f"{i / 5:.1f}", _LEFT - 5, y + 3.5, "end"))
        for value in ticks(self.low, self.high):
            parts.append(_text(f"{value:g}", self._x(value), bottom + 14, "middle"))
        parts.append(_text(self.x_title, middle, _HEIGHT - 4, "middle"))
        across = (_TOP + bottom) / 2
        parts.append(
            Markup('<text class="title" transform="translate(9 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
                across, self.y_title
            )
        )
        return Markup("").join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Four to six or so round numbers from ``low`` to ``high``."""
    wanted = max(high - low, 1e-9) / 5
    power = 10.0 ** np.floor(np.log10(wanted))
    step = next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= wanted * (1 - 1e-9))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def _tag(name: str, kind: str, **values: object) -> Markup:
    return Markup('<{} class="{}" {}/>').format(name, kind, _attributes(values))


def _attributes(values: dict[str, object]) -> Markup:
    return Markup(" ").join(Markup('{}="{}"').format(name, value) for name, value in values.items())


def _text(text: str, x: float, y: float, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, escape(text))
