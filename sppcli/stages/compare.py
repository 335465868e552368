"""Several evaluations side by side: lines of runs.jsonl, and detections files, which are evaluated for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.option_text import flat_options
from sppcli.artefacts.runs import RUNS, RunRecord, is_runs, read_runs, record_of
from sppcli.detection.against import data_of
from sppcli.errors import MissingInput, UsageProblem
from sppcli.evaluation.registry import PROTOCOLS
from sppcli.evaluation.voc_ap import Evaluate
from sppcli.runtime.counts import count_of
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress

VOC_PROTOCOLS = ("voc2007", "voc2010")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """``last``: at most so many runs of a log, the newest. ``split``, ``protocol``: only runs of these; None: of the
    newest run, or test and voc2007 where there are only detections files. ``dataset``: where the images are.
    """

    last: int = 6
    split: str | None = None
    protocol: str | None = None
    dataset: Path | None = None


@dataclass(frozen=True)
class CompareSummary:
    """``runs``: oldest first, files in the order given; ``classes``: of any of them; ``differing``: option -> its value
    in each run, None where a run has none, of those that are not the same in all; ``left_out``: runs of other splits or
    protocols.
    """

    runs: tuple[RunRecord, ...]
    classes: tuple[str, ...]
    differing: dict[str, tuple[str | None, ...]]
    left_out: int


def run(files: Sequence[Path], config: CompareConfig, *, options: RunOptions = USUAL) -> CompareSummary:
    """Gather runs to be compared.

    Args:
        files: logs of `spp evaluate` and detections of `spp detect`, in any order; none means runs.jsonl.

    Raises:
        MissingInput: there is no such file, no run that fits, or no data set.
        BadInput: a log without a run, or a data set without annotations.
        UsageProblem: detections by a protocol other than VOC's.
    """
    if not files and not Path(RUNS).exists():
        raise MissingInput(
            f"there is no {RUNS} in this folder; run spp evaluate, or name logs or detections to compare"
        )
    logs = {path: is_runs(path) for path in files or (Path(RUNS),)}
    logged: dict[Path, list[RunRecord]] = {}
    for path, is_log in logs.items():
        if is_log or path.suffix == ".jsonl":
            logged[path], odd = read_runs(path)
            if odd:
                options.progress.warn(f"{path}: {count_of(odd, 'line is', 'lines are')} no runs, and left out")
    by_date = sorted((one for runs in logged.values() for one in runs), key=lambda one: one.date)
    newest = by_date[-1] if by_date else None
    split = config.split or (newest.split if newest else "test")
    protocol = config.protocol or (newest.protocol if newest else VOC_PROTOCOLS[0])
    found: list[RunRecord] = []
    left_out = 0
    for path in logs:
        if path in logged:
            fitting = [one for one in logged[path] if (one.split, one.protocol) == (split, protocol)]
            left_out += len(logged[path]) - len(fitting)
            found += fitting[-config.last :]
        else:
            found.append(_evaluated(path, split, protocol, config.dataset, options.progress))
    if not found:
        raise MissingInput(f"no run evaluates split {split} by {protocol}; choose another --split or --protocol")
    classes = tuple(sorted({name for one in found for name in one.ap}))
    return CompareSummary(tuple(found), classes, _differing(found), left_out)


def _evaluated(path: Path, split: str, protocol: str, dataset: Path | None, progress: Progress) -> RunRecord:
    if protocol not in VOC_PROTOCOLS:
        raise UsageProblem(
            f"{path}: detections are compared by {' or '.join(VOC_PROTOCOLS)}, not {protocol}; choose --protocol, or "
            "run spp evaluate --log"
        )
    started = time.monotonic()
    stored = read_detections(path)
    opened, wanted = data_of(stored, split, dataset, progress)
    truth = {image_id: opened.annotations(image_id) for image_id in wanted}
    for warning in opened.remarks():
        progress.warn(warning)
    classes = tuple(sorted(set(opened.classes) | set(stored.detections.classes)))
    evaluate: Evaluate = PROTOCOLS[protocol].load()
    result = evaluate(stored.detections, truth, classes, iou=0.5, points="exact")
    taken = time.monotonic() - started
    return record_of(
        stored,
        split=split,
        images=len(wanted),
        protocol=protocol,
        iou=0.5,
        mean=result.mAP,
        ap=result.ap,
        seconds=taken,
    )


def _differing(runs: Sequence[RunRecord]) -> dict[str, tuple[str | None, ...]]:
    tables = [
        {
            **flat_options(one.options),
            "IoU": f"{one.iou:g}",
            "images": f"{one.images:,}",
            **{f"{name} digest": value[:12] for name, value in one.inputs.items()},
        }
        for one in runs
    ]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: tuple(table.get(name) for table in tables) for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}
