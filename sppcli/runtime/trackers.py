"""Curves and figures for experiment trackers: TensorBoard and MLflow, through their own libraries, in local files.

A tracked run is one output with one fingerprint. Points that are in it already are not written again, so that a
training that goes on after an interruption, or an evaluation that is repeated, leaves each point there once.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sppcli.errors import MissingInput
from sppcli.runtime.options import RunOptions

TRACKERS = ("tensorboard", "mlflow")
FOLDER = {"tensorboard": Path("tensorboard"), "mlflow": Path("mlruns")}
"""Where each writes, in the current folder; MLflow only where MLFLOW_TRACKING_URI names no other place."""
_EXPERIMENT = "spp"
_TAG = "spp.run"

Row = tuple[int, Mapping[str, float | None]]
"""A step, and the values of curves at it; None where there is none."""


@dataclass(frozen=True)
class TrackedRun:
    """``output``: the file that is made; ``fingerprint``: of all that decides it; ``parameters``: what a user chose."""

    stage: str
    output: Path
    fingerprint: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The output's name with the beginning of its fingerprint: other options give another run to compare with."""
        return f"{self.output.stem}-{self.fingerprint[:8]}"


def rows_of(history: Iterable[Mapping[str, Any]], names: Mapping[str, str], step: str = "") -> Iterator[Row]:
    """The rows of a training's history: ``names`` of its fields -> curves; at the field ``step``, else at 1, 2 ..."""
    for number, item in enumerate(history, 1):
        yield item[step] if step else number, {curve: item[name] for name, curve in names.items()}


def rows_of_classes(rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """One point for each number of each class, whose ``name`` is in its row."""
    for row in rows:
        yield 0, {f"{field}/{row['name']}": value for field, value in row.items() if field != "name"}


class Tracker(Protocol):
    """One run in one tracker."""

    @property
    def place(self) -> str:
        """Where it is, for the user."""

    def name(self, curve: str) -> str:
        """``curve`` as it is called there."""

    def known(self) -> set[tuple[str, int]]:
        """Curve and step of each point that is there."""

    def write(self, curve: str, step: int, value: float) -> None:
        """Add a point."""

    def flush(self, over: bool) -> None:
        """See to it that all points are on the disk. ``over``: none will follow."""


def require(names: Iterable[str]) -> None:
    """Check that what the trackers need is installed, before any work.

    Raises:
        MissingInput: it is not.
    """
    for name in names:
        found = find_spec(name)
        # A folder of that name, such as the one that is written to, passes for a package without files.
        if found is None or found.origin is None:
            raise MissingInput(f"--log {name} needs a package that is not installed: pip install 'sppcli[{name}]'")


class Log:
    """The trackers of one run, as `RunOptions.trackers` names them; each is opened when there is something to write.

    Tracking is an aid: where it fails, a warning says so once, and the work goes on without it.

    Raises:
        MissingInput: see `require`.
    """

    def __init__(self, run: TrackedRun, options: RunOptions) -> None:
        require(options.trackers)
        self.run, self.progress, self.anew = run, options.progress, options.force
        self._waiting = list(options.trackers)
        self._open: dict[str, tuple[Tracker, set[tuple[str, int]]]] = {}

    def add(self, rows: Iterable[Row], over: bool = False) -> None:
        """Write the points of ``rows`` that are not there yet; values that are no finite number are left out."""
        points = [
            (curve, step, float(value))
            for step, values in rows
            for curve, value in values.items()
            if value is not None and math.isfinite(value)
        ]
        for name in [*self._waiting, *self._open]:
            try:
                self._add(name, points, over)
            except Exception as error:  # of another program: it may be anything, and the training is worth more
                self._open.pop(name, None)
                self._waiting = [item for item in self._waiting if item != name]
                said = " ".join(str(error).split()) or type(error).__name__
                self.progress.warn(f"--log {name}: {said}; going on without it")

    def _add(self, name: str, points: list[tuple[str, int, float]], over: bool) -> None:
        if name in self._waiting:
            tracker = _OPENERS[name](self.run, self.anew)
            self._open[name] = (tracker, tracker.known())
            self._waiting.remove(name)
        tracker, known = self._open[name]
        for curve, step, value in points:
            point = (tracker.name(curve), step)
            if point not in known:
                tracker.write(*point, value)
                known.add(point)
        tracker.flush(over)
        if over:
            self.progress.say(f"logged to {tracker.place}")


class _TensorBoard:
    """Event files in ``tensorboard/RUN``; parameters as a text."""

    def __init__(self, run: TrackedRun, anew: bool) -> None:
        self.folder = FOLDER["tensorboard"] / run.name
        if anew:
            for path in self._files():
                path.unlink()
        self.run, self.found = run, self._read()
        self.writer: Any = None  # a file of its own, made when there is something to write

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("events.out.tfevents.*"))

    def _read(self) -> set[tuple[str, int]]:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        events = (event for path in self._files() for event in EventFileLoader(str(path)).Load())
        return {(value.tag, event.step) for event in events for value in event.summary.value}

    @property
    def place(self) -> str:
        return f"{self.folder}; tensorboard --logdir {self.folder.parent} shows it"

    def name(self, curve: str) -> str:
        return curve

    def known(self) -> set[tuple[str, int]]:
        return self.found

    def write(self, curve: str, step: int, value: float) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self.writer is None:
            self.writer = EventFileWriter(str(self.folder))
            if not self.found:
                options = _flat({"stage": self.run.stage, **self.run.parameters})
                table = ["| option | value |", "|---|---|", *(f"| {name} | {said} |" for name, said in options.items())]
                self._write("options", 0, "\n".join(table), "text")
        self._write(curve, step, value, "scalars")

    def _write(self, tag: str, step: int, value: float | str, plugin: str) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, DATA_CLASS_TENSOR, SummaryMetadata
        from tensorboard.util.tensor_util import make_tensor_proto

        data = make_tensor_proto(value if isinstance(value, float) else value.encode("utf-8"))
        kind = DATA_CLASS_SCALAR if isinstance(value, float) else DATA_CLASS_TENSOR
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin), data_class=kind)
        event = Event(wall_time=time.time(), step=step)
        event.summary.value.add(tag=tag, tensor=data, metadata=metadata)
        self.writer.add_event(event)

    def flush(self, over: bool) -> None:
        if self.writer is not None:
            self.writer.close() if over else self.writer.flush()


class _MLflow:
    """A run of the experiment spp, or MLFLOW_EXPERIMENT_NAME, in ``mlruns/`` or where MLFLOW_TRACKING_URI says."""

    def __init__(self, run: TrackedRun, anew: bool) -> None:
        # Nothing is to leave this machine unasked, and files are what is asked for.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        place = os.environ.get("MLFLOW_TRACKING_URI") or FOLDER["mlflow"].resolve().as_uri()
        self.client = MlflowClient(place)
        self.run_name, self.uri = run.name, place
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self.client.create_experiment(name)
        key = f"{run.name}-{run.fingerprint}"
        found = list(self.client.search_runs([number], f"tags.`{_TAG}` = '{_plain(key)}'"))
        if anew:
            for item in found:
                self.client.delete_run(item.info.run_id)
            found = []
        if found:
            self.id = found[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
            return
        made = self.client.create_run(number, tags={_TAG: _plain(key)}, run_name=run.name)
        self.id = made.info.run_id
        values = _flat({"stage": run.stage, **run.parameters})
        self.client.log_batch(self.id, params=[Param(_plain(name), value[:500]) for name, value in values.items()])

    @property
    def place(self) -> str:
        return f"MLflow, run {self.run_name} in {self.uri}"

    def name(self, curve: str) -> str:
        group, slash, name = curve.partition("/")
        return _plain(group) + slash + _plain(name)

    def known(self) -> set[tuple[str, int]]:
        names = self.client.get_run(self.id).data.metrics
        return {(name, item.step) for name in names for item in self.client.get_metric_history(self.id, name)}

    def write(self, curve: str, step: int, value: float) -> None:
        self.client.log_metric(self.id, curve, value, step=step)

    def flush(self, over: bool) -> None:
        if over:
            self.client.set_terminated(self.id)


_OPENERS: dict[str, Callable[[TrackedRun, bool], Tracker]] = {"tensorboard": _TensorBoard, "mlflow": _MLflow}


def _plain(name: str) -> str:
    """``name`` as MLflow takes it: of letters, digits and a few signs; others by their number. It becomes a file's."""
    return re.sub(r"[^A-Za-z0-9_\-. ]|^\.+$", lambda found: f"_{ord(found[0][0]):x}", name)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Values in values by names with points; each as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found
