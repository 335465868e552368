"""Draws what `spp tune` found: mAP against the values of each option that was varied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sppcli.runtime.files import replacing

Points = Sequence[tuple[str, float, float | None]]
"""(value, mAP, standard deviation over seeds or None)."""


def draw_effects(path: Path, effects: Sequence[tuple[str, Points, str]], title: str) -> None:
    """One panel for each option, all on one scale of mAP; numbers in their order, the value chosen in another colour.

    Args:
        path: the PNG to write; complete under its name, or not there.
        effects: name, points and chosen value of each option.
        title: of the whole picture.
    """
    figure = Figure(figsize=(max(4.2, 3.1 * len(effects)), 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(1, len(effects)), sharey=True, squeeze=False)[0]
    for axes, (name, points, chosen) in zip(panels, effects, strict=True):
        ordered = sorted(points, key=lambda point: _rank(point[0]))
        places = list(range(len(ordered)))
        scores = [score for _, score, _ in ordered]
        axes.plot(places, scores, color="0.7", zorder=1)
        axes.errorbar(places, scores, [spread or 0.0 for _, _, spread in ordered], fmt="none", ecolor="0.5", zorder=2)
        colours = ["#d55e00" if value == chosen else "#0072b2" for value, _, _ in ordered]
        axes.scatter(places, scores, c=colours, zorder=3)
        labels = [value if len(value) <= 18 else f"…{value[-17:]}" for value, _, _ in ordered]
        axes.set_xticks(places, labels, rotation=30 if max(map(len, labels)) > 6 else 0, fontsize=8)
        axes.set_title(f"{name} (difference {max(scores) - min(scores):.3f})", fontsize=10)
        axes.margins(x=0.2)
        axes.grid(axis="y", color="0.9")
    panels[0].set_ylabel("mAP")
    figure.suptitle(f"{title}; orange: the best value", fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "spp"})


def _rank(value: str) -> tuple[int, float, str]:
    """Numbers by size, then texts."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
