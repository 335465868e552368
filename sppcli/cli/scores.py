"""What ``spp evaluate`` prints: a table of each protocol's figures, or the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from sppcli.cli import console
from sppcli.evaluation.operating_point import AT_IOU
from sppcli.runtime.counts import count_of

if TYPE_CHECKING:
    from sppcli.evaluation.localisation import LocalisationErrors
    from sppcli.evaluation.operating_point import AtThreshold, Figures
    from sppcli.stages.evaluate import CocoSummary, EvaluateSummary, IlsvrcSummary
    from sppcli.stages.recall import RecallSummary


def print_coco(summary: CocoSummary, as_json: bool) -> None:
    result, at = summary.result, summary.at_threshold
    if as_json:
        console.print_json({"protocol": "coco", **result.stats, "ap": result.ap, **_at_json(at, AT_IOU)})
        return
    if at is None:
        rows = [(name, _shown(ap), result.npos[name], result.n_detections[name]) for name, ap in result.ap.items()]
        footer = ("mean", _shown(result.stats["AP"]), "", "")
        console.table(("class", "AP", "objects", "detections"), rows, footer=footer)
    else:
        _table_at_threshold(result.ap, result.stats["AP"], at)
    console.echo()
    console.table(tuple(result.stats), [tuple(map(_shown, result.stats.values()))])
    console.echo(f"coco, IoU 0.50:0.95, {count_of(summary.images, 'image')} of {summary.split}")
    _say_of_thresholds(at, AT_IOU)


def print_ilsvrc(summary: IlsvrcSummary, as_json: bool) -> None:
    result, at = summary.result, summary.at_threshold
    if as_json:
        console.print_json({"protocol": "ilsvrc", "mAP": result.mAP, "ap": result.ap, **_at_json(at, AT_IOU)})
        return
    _table(summary) if at is None else _table_at_threshold(result.ap, result.mAP, at)
    blacklist = f", {count_of(summary.blacklisted, 'pair')} blacklisted" if summary.blacklisted else ""
    console.echo(
        f"ilsvrc (area), IoU by object size, {count_of(summary.images, 'image')} of {summary.split}{blacklist}"
    )
    _say_of_thresholds(at, AT_IOU)


def print_localisation(result: LocalisationErrors, split: str, as_json: bool) -> None:
    if as_json:
        console.print_json(asdict(result))
        return
    rows = [
        ("class and box", f"{result.top1:.4f}", f"{result.top5:.4f}"),
        ("class", f"{result.class_top1:.4f}", f"{result.class_top5:.4f}"),
    ]
    console.table(("error", "top-1", "top-5"), rows)
    none = f", {result.without_localisation:,} without a prediction" if result.without_localisation else ""
    console.echo(f"IoU 0.5, {count_of(result.images, 'image')} of {split}{none}")


def voc_json(summary: EvaluateSummary) -> dict[str, object]:
    """AP, and of a calibrated detector what its thresholds give."""
    result = summary.result
    found: dict[str, object] = {"protocol": result.protocol, "mAP": result.mAP, "ap": result.ap}
    return {**found, **_at_json(summary.at_threshold, result.iou)}


def _at_json(at: AtThreshold | None, iou: float) -> dict[str, object]:
    """What the thresholds of a calibration give; nothing without one."""
    if at is None:
        return {}
    classes = {name: {"threshold": at.thresholds[name], **_figures(one)} for name, one in at.figures.items()}
    errors = {"calibration_error": at.error, "calibration_error_shown": at.error_shown}
    return {"at_threshold": {"iou": iou, "classes": classes, "all": _figures(at.all_figures), **errors}}


def _figures(at: Figures) -> dict[str, object]:
    return {"precision": at.precision, "recall": at.recall, "f1": at.f1, "shown": at.shown, "objects": at.objects}


def print_voc(summary: EvaluateSummary) -> None:
    result, at = summary.result, summary.at_threshold
    _table(summary) if at is None else _table_at_threshold(result.ap, result.mAP, at)
    rule = {"voc2007": " (11-point)", "voc2010": " (area)"}.get(result.protocol, "")
    console.echo(f"{result.protocol}{rule}, IoU {result.iou:g}, {count_of(summary.images, 'image')} of {summary.split}")
    _say_of_thresholds(at, result.iou)


def _say_of_thresholds(at: AtThreshold | None, iou: float) -> None:
    if at is not None:
        console.echo(f"precision, recall and F1: IoU {iou:g}, detections above their class's threshold")
        console.echo(f"expected calibration error {_shown(at.error)}, of what is shown {_shown(at.error_shown)}")


def _table_at_threshold(aps: Mapping[str, float | None], mean: float | None, at: AtThreshold) -> None:
    """AP beside what counts as an object: narrow enough for 80 columns with a class name of 15."""
    headers = ("class", "AP", "threshold", "precision", "recall", "F1", "shown", "objects")
    rows = [
        (name, _shown(ap), _shown(at.thresholds[name]), *_of(one := at.figures[name]), one.shown, one.objects)
        for name, ap in aps.items()
    ]
    every = at.all_figures
    console.table(headers, rows, footer=("mAP, all", _shown(mean), "", *_of(every), every.shown, every.objects))


def _of(at: Figures) -> tuple[str, ...]:
    return tuple(map(_shown, (at.precision, at.recall, at.f1)))


def _table(summary: EvaluateSummary | IlsvrcSummary) -> None:
    result = summary.result
    rows = [
        (name, _shown(ap), _shown(result.max_recall[name]), result.npos[name], result.n_detections[name])
        for name, ap in result.ap.items()
    ]
    headers = ("class", "AP", "recall", "objects", "detections")
    console.table(headers, rows, footer=("mAP", _shown(result.mAP), "", "", ""))


def _shown(value: float | None) -> str:
    return "-" if value is None or value == float("inf") else f"{value:.4f}"


def print_recall(summary: RecallSummary, as_json: bool) -> None:
    """Print recall by number of proposals and IoU, of all objects and by class."""
    from sppcli.evaluation.recall import THRESHOLDS

    if as_json:
        console.print_json(summary.to_json())
        return
    ious = tuple(f"IoU {value:g}" for value in THRESHOLDS)
    rows: list[tuple[object, ...]] = []
    per_class: list[tuple[object, ...]] = []
    for file in summary.files:
        table = zip((*file.reach.counts, "all"), file.reach.recall().T, file.reach.average_recall(), strict=True)
        rows += [(file.path, count, *(f"{value:.3f}" for value in (*line, ar))) for count, line, ar in table]
        for name in file.reach.classes:
            one = file.reach.of_class(name)
            values = (*one.recall()[:, -1], one.average_recall()[-1])
            per_class.append((file.path, name, len(one.labels), *(f"{value:.3f}" for value in values)))
    console.table(("file", "proposals", *ious, "AR"), rows)
    console.echo()
    console.table(("file", "class", "objects", *ious, "AR"), per_class)
    console.echo()
    for file in summary.files:
        console.echo(f"{file.path}: {file.method}, {file.reach.windows:,.0f} proposals per image")
    console.echo(
        f"{count_of(summary.objects, 'object')} in {count_of(summary.images, 'image')} of {summary.split}, "
        "without difficult ones"
    )
    if summary.plot:
        console.say(f"curves drawn into {summary.plot}")
