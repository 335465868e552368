"""The charts of the report: precision and recall, and what a threshold gives; one panel for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.thresholds import Tally
from sppcli.evaluation.verdicts import Verdicts
from sppcli.evaluation.voc_ap import grouped, precision_recall
from sppcli.report.page.charts import Chart, Line
from sppcli.report.page.content import Panel
from sppcli.structures import BoolArray, FloatArray

Float64 = npt.NDArray[np.float64]


def precision_recall_panels(loose: Verdicts, strict: Verdicts, aps: Sequence[float | None]) -> list[Panel]:
    """Precision against recall of each class with objects, at two IoUs; ``aps``: what stands beside a class's name."""
    panels = []
    curves = list(zip(_curves(loose), _curves(strict), strict=True))
    for number, (name, ap) in enumerate(zip(loose.classes, aps, strict=True)):
        if ap is None:
            continue
        lines = [
            Line(f"IoU {verdicts.iou:g}", recall, precision, kind)
            for verdicts, kind, (recall, precision) in zip(
                (strict, loose), ("second", "first"), reversed(curves[number]), strict=True
            )
        ]
        alt = f"Precision against recall of {name}, whose AP is {ap:.3f}"
        chart = Chart(x_title="recall", y_title="precision", alt=alt, lines=lines, point=number)
        panels.append(Panel(name, f"AP {ap:.3f}", chart.svg()))
    return panels


def _curves(verdicts: Verdicts) -> list[tuple[Float64, Float64]]:
    npos = verdicts.npos()
    found = []
    for number, rows in enumerate(grouped(verdicts.label, len(verdicts.classes))):
        recall, precision = precision_recall(verdicts.tp[rows], verdicts.fp[rows], int(npos[number]))
        found.append((recall, precision))
    return found


def threshold_panels(table: Tally, names: Sequence[str], what: str) -> list[Panel]:
    """Precision, recall and F1 against the threshold, of all classes together and of each with objects."""
    panels = []
    whole = table.overall()
    for name, one, row in [("all classes", whole, 0), *((name, table, i) for i, name in enumerate(names))]:
        f1 = one.f1()[row]
        if not np.isfinite(f1).any() or (one is table and len(names) == 1):
            continue
        best = int(np.nanargmax(f1))
        lines = [
            Line("precision", one.thresholds, one.precision()[row], "precision"),
            Line("recall", one.thresholds, one.recall()[row], "recall"),
            Line("F1", one.thresholds, f1, "first"),
        ]
        note = f"best F1 {f1[best]:.3f} at {one.thresholds[best]:g}"
        chart = Chart(
            x_title=f"least {what}",
            y_title="",
            alt=f"Precision, recall and F1 of {name} against the threshold: {note}",
            lines=lines,
            low=float(one.thresholds[0]),
            high=float(one.thresholds[-1]),
            cursor=True,
        )
        panels.append(Panel(name, note, chart.svg()))
    return panels


def reliability_panel(values: FloatArray, hits: BoolArray, bins: int) -> Panel:
    """The share of detections that are right against their probability, over ``bins`` of equal width."""
    place = np.clip((np.asarray(values, dtype=np.float64) * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    right = np.bincount(place, weights=hits, minlength=bins)
    bars = [(i / bins, (i + 1) / bins, float(right[i] / count[i])) for i in np.flatnonzero(count)]
    chart = Chart(
        x_title="probability",
        y_title="share that is right",
        alt="Share of detections that are right against their probability; on the diagonal both are equal",
        lines=[],
        bars=bars,
        diagonal=True,
    )
    return Panel("Reliability", f"{len(values):,} detections", chart.svg())
