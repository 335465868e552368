"""Frames of video files, webcams and network streams, and annotated videos, through OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sppcli.errors import BadInput, MissingInput
from sppcli.runtime.files import commit, ensure_folder
from sppcli.structures import ByteImage

_USUAL_RATE = 25.0
"""Frames per second of a video whose source does not say."""


@dataclass(frozen=True)
class Frame:
    """One frame: its ``number`` from 0, ``seconds`` since the first, and its pixels (H, W, 3) RGB."""

    number: int
    seconds: float
    pixels: ByteImage


class VideoSource:
    """A video file, the number of a webcam, or an address such as rtsp://host/path; close it by `close`.

    ``rate``: frames per second; ``count``: frames of a file, as far as it says, else 0.
    """

    def __init__(self, source: str) -> None:
        """Open ``source``.

        Raises:
            MissingInput: no such file, webcam or stream.
            BadInput: a file that OpenCV cannot read as a video.
        """
        self.name = source
        self._live = source.isdecimal() or "://" in source
        if not self._live and not Path(source).exists():
            raise MissingInput(f"{source}: there is no such video; give a file, the number of a webcam or an address")
        if self._live:
            what = "webcam" if source.isdecimal() else "stream"
        with _quiet():
            self._capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
        if not self._capture.isOpened():
            self._capture.release()
            if self._live:
                raise MissingInput(f"{source}: this {what} cannot be opened; check that it is there and not in use")
            raise BadInput(f"{source}: OpenCV cannot read it as a video; convert it to MP4 (H.264)")
        said = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = said if np.isfinite(said) and 0 < said < 1000 else _USUAL_RATE
        self.count = 0 if self._live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def frames(self) -> Iterator[Frame]:
        """Every frame in turn. Times of a file are those of its frame rate; of others they are the clock's."""
        started = time.monotonic()
        number = 0
        while True:
            with _quiet():
                there, pixels = self._capture.read()
            if not there:
                return
            seconds = time.monotonic() - started if self._live else number / self.rate
            yield Frame(number, seconds, np.ascontiguousarray(pixels[:, :, ::-1]))
            number += 1

    def close(self) -> None:
        self._capture.release()


class VideoWriter:
    """An MP4 or AVI that appears under its name when it is complete: `add` frames, then `end`."""

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._rate = path, rate
        # The name decides the container, so that the ending stays.
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        ensure_folder(path)

    def add(self, pixels: ByteImage) -> None:
        """Append a frame (H, W, 3) RGB; all are as large as the first.

        Raises:
            BadInput: OpenCV has no encoder for the file.
        """
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*("MJPG" if self._path.suffix.lower() == ".avi" else "mp4v"))
            height, width = pixels.shape[:2]
            with _quiet():
                self._writer = cv2.VideoWriter(str(self._temporary), code, self._rate, (width, height))
            if not self._writer.isOpened():
                raise BadInput(f"{self._path}: OpenCV has no encoder for {self._path.suffix} here; name an .avi file")
        self._writer.write(np.ascontiguousarray(pixels[:, :, ::-1]))

    def end(self) -> None:
        if self._writer:
            self._writer.release()
            commit(self._temporary, self._path)

    def discard(self) -> None:
        """Leave nothing of what was not ended."""
        if self._writer:
            self._writer.release()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV and FFmpeg tell on standard error what an exception of ours says in a sentence."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
