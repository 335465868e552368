"""Learning curves of a training: a table with one row per epoch, and a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppcli.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_csv(path: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Write a header of names and one line per epoch; numbers are in full, and missing ones empty."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["epoch", *(epochs[0] if epochs else ())])
        for number, epoch in enumerate(epochs, 1):
            writer.writerow([number, *("" if value is None else value for value in epoch.values())])


def write_png(path: Path, epochs: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw loss and errors by epoch; marks show the input size (of four at most), dotted lines where the rate fell.

    ``epochs``: size, rate, loss, right and validation_error (or None) of each, as `learn.multisize.Epoch`.
    """
    numbers = list(range(1, len(epochs) + 1))
    figure = _figure(9)
    loss, error = figure.subplots(1, 2)
    sizes = sorted({epoch["size"] for epoch in epochs}, reverse=True)
    loss.plot(numbers, [epoch["loss"] for epoch in epochs], color="0.75", zorder=1)
    if len(sizes) <= 4:
        for size, mark in zip(sizes, "osD^", strict=False):
            chosen = [i for i in numbers if epochs[i - 1]["size"] == size]
            losses = [epochs[i - 1]["loss"] for i in chosen]
            loss.scatter(chosen, losses, s=14, marker=mark, label=f"{size} pixels", zorder=2)
    loss.set_title("training loss")
    error.plot(numbers, [100 * (1 - epoch["right"]) for epoch in epochs], label="training, altered crops", color="0.6")
    if any(epoch["validation_error"] is not None for epoch in epochs):
        held = [100 * epoch["validation_error"] for epoch in epochs]
        error.plot(numbers, held, label="validation, centre crop", color="tab:red")
    error.set_title("top-1 error, %")
    for axes in (loss, error):
        for i in numbers[1:]:
            if epochs[i - 1]["rate"] < epochs[i - 2]["rate"]:
                axes.axvline(i - 0.5, linestyle=":", color="0.5")
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    _save(figure, path)


def write_detector_png(path: Path, epochs: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw the losses by epoch, and the mAP on the validation images where there are any.

    ``epochs``: class_loss, box_loss, map_11 and map_area (or None) of each, as `learn.detector.DetectorEpoch`.
    """
    numbers = list(range(1, len(epochs) + 1))
    validated = any(epoch["map_area"] is not None for epoch in epochs)
    figure = _figure(9 if validated else 4.5)
    shown = figure.subplots(1, 1 + validated, squeeze=False)[0]
    for name, label in (("class_loss", "classes"), ("box_loss", "boxes")):
        shown[0].plot(numbers, [epoch[name] for epoch in epochs], marker=".", label=label)
    shown[0].set_title("training loss")
    if validated:
        for name, label in (("map_area", "area"), ("map_11", "11 points")):
            shown[1].plot(numbers, [epoch[name] for epoch in epochs], marker=".", label=label)
        shown[1].set_title("mAP, validation images")
    for axes in shown:
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    _save(figure, path)


def _figure(width: float) -> Figure:
    # matplotlib takes its time, and keeps a list of fonts: imported when something is drawn.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 4), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with replacing(path) as temporary:
        # The backend's functions carry no types.
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": "spp"})  # type: ignore[no-untyped-call]
