"""Draws the recall of proposals as curves in a PNG. matplotlib needs neither a display nor global state for this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sppcli.errors import BadInput, MissingInput
from sppcli.evaluation.recall import ProposalRecall
from sppcli.runtime.files import replacing

_IOUS = np.linspace(0.5, 1, 101)
# Okabe and Ito's colours, told apart with any colour vision.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def draw_recall(path: Path, curves: Sequence[tuple[str, ProposalRecall]]) -> None:
    """Draw recall against proposals at IoU 0.5 and 0.7, AR against proposals, and recall of all proposals against IoU.

    Args:
        path: the PNG to write; complete under its name, or not there.
        curves: name and numbers of each file.

    Raises:
        MissingInput: the folder of ``path`` does not exist.
        BadInput: ``path`` does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise BadInput(f"{path}: the plot is a PNG; give it a name that ends in .png")
    if not path.parent.is_dir():
        raise MissingInput(f"{path}: the folder {path.parent} does not exist; create it or choose another place")
    figure = Figure(figsize=(12.5, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    by_count, average, by_iou = figure.subplots(1, 3)
    for number, (name, one) in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        # The last point is all proposals; counts beyond what an image has on average add nothing.
        last = max(1.0, one.windows)
        shown = [i for i, count in enumerate(one.counts) if count < last]
        at = [*(one.counts[i] for i in shown), last]
        columns = [*shown, len(one.counts)]
        half, strict = one.recall((0.5, 0.7))[:, columns]
        ar = one.average_recall()[columns]
        by_count.plot(at, half, color=colour, marker="o", markersize=3, label=name)
        by_count.plot(at, strict, color=colour, marker="o", markersize=3, linestyle="--")
        average.plot(at, ar, color=colour, marker="o", markersize=3, label=f"{name}: {ar[-1]:.3f}")
        by_iou.plot(_IOUS, one.recall(_IOUS)[:, -1], color=colour, label=f"{name}: {one.windows:,.0f} proposals")
    by_count.plot([], [], color="grey", label="IoU 0.5")
    by_count.plot([], [], color="grey", linestyle="--", label="IoU 0.7")
    by_count.set(xlabel="proposals per image", ylabel="recall", title="recall, first N proposals")
    average.set(xlabel="proposals per image", ylabel="average recall", title="average recall, IoU 0.5 to 1")
    by_iou.set(xlabel="IoU", ylabel="recall", title="recall, all proposals", xlim=(0.5, 1))
    for axes in (by_count, average):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for axes in (by_count, average, by_iou):
        axes.set_ylim(0, 1)
        axes.grid(color="0.9")
        axes.legend(fontsize=8)
    with replacing(path) as temporary:
        # Matplotlib's version is left out, so that the same numbers give the same file.
        figure.savefig(temporary, format="png", metadata={"Software": "spp"})
