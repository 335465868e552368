"""runs.jsonl: one line of JSON for each evaluation, to compare runs by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sppcli import __version__
from sppcli.artefacts.detections import DetectionsFile
from sppcli.errors import BadInput, MissingInput
from sppcli.runtime.inputs import read_regular
from sppcli.runtime.urls import with_urls

RUNS = "runs.jsonl"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One evaluation.

    | field | meaning |
    |---|---|
    | date | ISO 8601, with the offset from UTC |
    | version | of spp |
    | detections | the file's name |
    | fingerprint | of the detections: the same content gives the same |
    | inputs | digests of what the detections were made of |
    | options | those that made the detections |
    | split, images, protocol, iou | what was evaluated, and by which rules |
    | mAP | mean AP; None where there is no object |
    | ap | AP of each class |
    | seconds | that the evaluation took, with spp detect where it ran first |
    """

    date: str
    version: str
    detections: str
    fingerprint: str
    split: str
    images: int
    protocol: str
    iou: float
    mAP: float | None  # noqa: N815 (the field's name)
    ap: dict[str, float | None]
    seconds: float
    inputs: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def record_of(
    stored: DetectionsFile,
    *,
    split: str,
    images: int,
    protocol: str,
    iou: float,
    mean: float | None,
    ap: dict[str, float | None],
    seconds: float,
) -> RunRecord:
    """An evaluation of ``stored`` as a line of the log."""
    return RunRecord(
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        version=__version__,
        detections=with_urls(str(stored.path)),
        fingerprint=stored.header.fingerprint,
        split=split,
        images=images,
        protocol=protocol,
        iou=iou,
        mAP=mean,
        ap=dict(ap),
        seconds=round(seconds, 2),
        inputs=dict(stored.header.inputs),
        options=dict(stored.header.config),
    )


def append_run(path: Path, record: RunRecord) -> None:
    """Add ``record`` as a line, in one write, so that evaluations side by side do not mix.

    Raises:
        OSError: the folder is not there, or cannot be written to.
    """
    line = json.dumps(asdict(record), ensure_ascii=False, separators=(",", ":")) + "\n"
    # Another program may have left a last line without its end.
    with path.open("ab+") as stream:
        size = stream.seek(0, 2)
        if size:
            stream.seek(size - 1)
            line = line if stream.read(1) == b"\n" else "\n" + line
        stream.write(line.encode("utf-8"))


def is_runs(path: Path) -> bool:
    """Whether a file is such a log: its first line is a run."""
    try:
        with path.open("rb") as stream:
            return _record(stream.readline(1 << 20)) is not None
    except OSError:
        return False


def read_runs(path: Path) -> tuple[list[RunRecord], int]:
    """The runs in a log, in its order; and the number of its lines that are none.

    Raises:
        MissingInput: there is no such file.
        BadInput: it holds no run.
    """
    try:
        lines = read_regular(path).splitlines()
    except FileNotFoundError as error:
        raise MissingInput(f"{path}: there is no such file; spp evaluate --log writes it") from error
    found = [_record(line) for line in lines if line.strip()]
    runs = [record for record in found if record is not None]
    if not runs:
        raise BadInput(f"{path} holds no run of spp evaluate; name a file that spp evaluate --log wrote")
    return runs, len(found) - len(runs)


def _record(line: bytes) -> RunRecord | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, Mapping):
        return None
    known = {name: values[name] for name in RunRecord.__dataclass_fields__ if name in values}
    kinds: dict[str, Any] = {"images": int, "iou": float | int, "seconds": float | int, "mAP": float | int | None}
    kinds |= dict.fromkeys(("ap", "inputs", "options"), dict)
    if not all(isinstance(value, kinds.get(name, str)) for name, value in known.items()):
        return None
    if not all(isinstance(value, float | int | None) for value in known.get("ap", {}).values()):
        return None
    try:
        return RunRecord(**known)
    except TypeError:  # a field is missing
        return None
