"""Detections in the frames of a video as JSON lines or a CSV table."""

from __future__ import annotations

import csv
import json
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from sppcli.stages.detect_video import FrameFound

COLUMNS = ("video", "frame", "seconds", "class", "score", "probability", "x0", "y0", "x1", "y1")


class FrameLines:
    """One JSON object for each detection, or with ``table`` one row; flushed after each frame."""

    def __init__(self, stream: IO[str], table: bool = False) -> None:
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n") if table else None
        if self._rows:
            self._rows.writerow(COLUMNS)

    def add(self, found: FrameFound) -> None:
        for i, name in enumerate(found.labels):
            likely = None if found.probabilities is None else round(float(found.probabilities[i]), 4)
            score, box = round(float(found.scores[i]), 6), [round(float(value), 2) for value in found.boxes[i]]
            where = {"video": found.source, "frame": found.number, "seconds": round(found.seconds, 3)}
            if self._rows:
                self._rows.writerow((*where.values(), name, score, "" if likely is None else likely, *box))
                continue
            more = {} if likely is None else {"probability": likely}
            line = {**where, "class": name, "score": score, **more, "box": box}
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()
