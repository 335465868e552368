"""Adds an evaluation to runs.jsonl and to experiment trackers.

The log is an aid: what it is about goes on where it cannot be written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sppcli.artefacts.runs import RUNS, RunRecord, append_run, is_runs, read_runs
from sppcli.artefacts.store import digest_of
from sppcli.errors import MissingInput, SppError, UsageProblem
from sppcli.evaluation.operating_point import AtThreshold
from sppcli.runtime.options import RunOptions
from sppcli.runtime.trackers import Log, TrackedRun

OFF = "off"


def log_path(given: str | None) -> Path | None:
    """Where runs are logged: ``given``, by default runs.jsonl in this folder, None for "off".

    Raises:
        UsageProblem: ``given`` is a file of something else.
        MissingInput: its folder does not exist.
    """
    if given == OFF:
        return None
    if given is None:
        return Path(RUNS)
    path = Path(given)
    if not path.parent.is_dir():
        raise MissingInput(f"{path}: the folder {path.parent} does not exist; create it or choose another --log")
    if path.exists() and not (path.is_file() and (is_runs(path) or not path.stat().st_size)):
        raise UsageProblem(f"{path} is there already and is no log of spp evaluate; choose another --log")
    return path


def log_run(path: Path, record: RunRecord) -> str:
    """Add ``record`` to the log, unless its last line says the same; "" or why it could not be added."""
    try:
        if path.exists() and path.stat().st_size:
            if not is_runs(path):
                return f"{path} is no log of spp evaluate, so this run is not in it; choose another with --log"
            last = read_runs(path)[0][-1]
            if replace(last, date=record.date, seconds=record.seconds) == record:
                return ""
        append_run(path, record)
    except (OSError, SppError) as error:
        return f"{path}: this run could not be added ({getattr(error, 'strerror', None) or error})"
    return ""


def track_run(record: RunRecord, at: AtThreshold | None, options: RunOptions) -> None:
    """Give mAP and AP, precision, recall and F1 of each class to ``options.trackers``.

    The same evaluation again adds nothing.
    """
    path = Path(record.detections)
    name = path.with_name(f"{path.stem}-{record.protocol}-{record.split}.h5")
    key = digest_of([record.fingerprint, record.protocol, record.split, record.iou, at and at.thresholds])
    values = {"mAP": record.mAP, **{f"AP/{label}": ap for label, ap in record.ap.items()}}
    if at:
        for label, one in at.figures.items():
            values |= {f"precision/{label}": one.precision, f"recall/{label}": one.recall, f"F1/{label}": one.f1}
        every = at.all_figures
        values |= {"all/precision": every.precision, "all/recall": every.recall, "all/F1": every.f1}
    Log(TrackedRun("evaluate", name, key, record.options), options).add([(0, values)], over=True)
