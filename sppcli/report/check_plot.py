"""Draws a data set as four small plots in a PNG. matplotlib needs neither a display nor global state for this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sppcli.datasets.check import Finding
from sppcli.datasets.statistics import Statistics
from sppcli.errors import BadInput, MissingInput
from sppcli.report.check_text import by_kind
from sppcli.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart with any colour vision.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
_WRONG = "#d55e00"
_MOST = 25
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def require_png(path: Path) -> None:
    """Refuse a place where no plot can be written, before anything is worked out.

    Raises:
        MissingInput: the folder of ``path`` does not exist.
        BadInput: ``path`` does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise BadInput(f"{path}: the plot is a PNG; give it a name that ends in .png")
    if not path.parent.is_dir():
        raise MissingInput(f"{path}: the folder {path.parent} does not exist; create it or choose another place")


def draw_check(path: Path, title: str, stats: Statistics, findings: Sequence[Finding], least_side: float) -> None:
    """Draw objects of each class and split, sizes of objects and of images, and how many findings each kind has.

    Args:
        path: the PNG to write; complete under its name, or not there.
        least_side: side in pixels of the smallest square that Selective Search proposes.
    """
    figure = Figure(figsize=(12, 8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    _classes(panels[0, 0], stats)
    _object_sizes(panels[0, 1], stats, least_side)
    _image_sizes(panels[1, 0], stats)
    _findings(panels[1, 1], findings)
    figure.suptitle(title)
    with replacing(path) as temporary:
        # Matplotlib's version is left out, so that the same numbers give the same file.
        figure.savefig(temporary, format="png", metadata={"Software": "spp"})


def _classes(axes: Axes, stats: Statistics) -> None:
    labels = sorted(stats.classes, key=lambda label: -stats.classes[label].objects)
    more = len(labels) - _MOST
    labels = labels[:_MOST]
    # Splits that hold others (trainval) would draw the same objects twice.
    names = [name for name in ("train", "val", "valid", "test") if name in stats.splits] or list(stats.splits)[:5]
    groups = names or [""]
    height = 0.8 / len(groups)
    for number, name in enumerate(groups):
        counts = [stats.classes[label].splits[name] if name else stats.classes[label].objects for label in labels]
        at = np.arange(len(labels)) + (number - (len(groups) - 1) / 2) * height
        bars = axes.barh(at, counts, height, color=_COLOURS[number % len(_COLOURS)], label=name or None)
        if len(labels) * len(groups) <= _MOST:
            axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=8)
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set(xlabel="objects", title=f"objects of each class{f' ({more} more classes)' if more > 0 else ''}")
    _grid(axes, "x")
    if names:
        axes.legend(fontsize=8)


def _object_sizes(axes: Axes, stats: Statistics, least_side: float) -> None:
    if len(stats.sides):
        sides = np.maximum(stats.sides, 1)
        edges = 2 ** np.arange(np.floor(np.log2(sides.min())), np.ceil(np.log2(sides.max() * 1.001)) + 0.25, 0.25)
        axes.hist(sides, bins=edges.tolist(), color=_COLOURS[0])
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(_THOUSANDS)
        axes.axvline(least_side, color=_WRONG, linestyle="--")
        axes.text(
            least_side,
            0.98,
            " smallest region that Selective Search proposes",
            color=_WRONG,
            fontsize=8,
            va="top",
            transform=axes.get_xaxis_transform(),
        )
        axes.margins(y=0.12)
        axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.set(xlabel="square root of the area, pixels", ylabel="objects", title="sizes of objects")
    _grid(axes, "y")


def _image_sizes(axes: Axes, stats: Statistics) -> None:
    if stats.image_sizes:
        width, height = np.array([size for size, _ in stats.image_sizes]).T
        counts = np.array([count for _, count in stats.image_sizes])
        axes.scatter(width, height, s=np.clip(12 * np.sqrt(counts), 12, 600), color=_COLOURS[0], alpha=0.5)
        (most_wide, most_high), count = stats.image_sizes[0]
        axes.annotate(
            f"{most_wide} x {most_high}: {count:,} of {stats.images:,}",
            (most_wide, most_high),
            xytext=(0, 20),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        axes.set_xlim(0, 1.15 * width.max())
        axes.set_ylim(0, 1.25 * height.max())
    axes.set(xlabel="width, pixels", ylabel="height, pixels", title="sizes of images")
    _grid(axes, "both")


def _findings(axes: Axes, findings: Sequence[Finding]) -> None:
    counts = Counter({kind: len(found) for kind, found in by_kind(findings).items()})
    if counts:
        kinds = list(counts)
        bars = axes.barh(range(len(kinds)), [counts[kind] for kind in kinds], 0.6, color=_WRONG)
        axes.bar_label(bars, [f"{counts[kind]:,}" for kind in kinds], padding=3, fontsize=8)
        axes.set_yticks(range(len(kinds)), kinds, fontsize=8)
        axes.set_ylim(max(len(kinds), 6) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.set_xlabel("findings")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _grid(axes, "x")
    else:
        axes.text(0.5, 0.5, "nothing was found", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
    axes.set_title("what is wrong")


def _grid(axes: Axes, axis: str) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=axis, color="0.9")  # type: ignore[arg-type]
