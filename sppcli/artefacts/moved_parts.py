"""What is left of a part whose values have been moved into the whole file: enough to make it again, bit for bit."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sppcli.artefacts.reading import Extents
from sppcli.errors import BadArtefact
from sppcli.runtime.checksums import CheckedFile, seal

_LENGTH = struct.Struct("<Q")


@dataclass
class Moved:
    """Where the values of a part lay in it, and where they lie in the whole file.

    ``spans``: (offset in the part, offset in the whole file, bytes) each; ``rest``: the part's other bytes, in order.
    """

    spans: list[tuple[int, int, int]] = field(default_factory=list)
    rest: bytes = b""

    @property
    def count(self) -> int:
        """Bytes that were moved."""
        return sum(count for *_, count in self.spans)

    @property
    def start(self) -> int:
        """Where in the whole file the first of them lies."""
        return min(there for _, there, _ in self.spans)

    def add(self, before: Extents, now: Extents) -> None:
        """A data set that lay at ``before`` in the part, and lies at ``now`` in the whole file."""
        for (here, count), (there, again) in zip(before, now, strict=True):
            if count != again:
                raise ValueError(f"{count} bytes became {again}")
            self.spans.append((here, there, count))
        self.spans.sort()

    def restore(self, path: Path, whole: Path) -> bool:
        """Write the part as it was; whether it is whole.

        Raises:
            OSError: it could not be written.
        """
        with path.open("wb") as file, _opened(whole) as moved:
            done = rest = 0
            for here, there, count in self.spans:
                file.write(self.rest[rest : rest + here - done])
                rest += here - done
                file.write(_read(moved, there, count))
                done = here + count
            file.write(self.rest[rest:])
        try:
            with CheckedFile(path) as part:
                part.verify()
        except (BadArtefact, OSError):
            return False
        return True


def write_moved(path: Path, part: Path, whole: Path, moved: Moved) -> bool:
    """Write what is left of ``part``, if something was moved of it and all of that is in ``whole``; whether it is.

    Raises:
        OSError: it could not be written, or a file not be read.
    """
    data = part.read_bytes()
    rest, done = bytearray(), 0
    with whole.open("rb") as file:
        for here, there, count in moved.spans:
            if here < done or _read(file, there, count) != data[here : here + count]:
                return False
            rest += data[done:here]
            done = here + count
    if not moved.spans:
        return False
    rest += data[done:]
    spans = json.dumps(moved.spans).encode()
    path.write_bytes(_LENGTH.pack(len(spans)) + spans + rest)
    seal(path)
    return True


def read_moved(path: Path) -> Moved | None:
    """Read what `write_moved` wrote; None if it is damaged."""
    try:
        with CheckedFile(path) as file:
            data = file.readall()
    except (BadArtefact, OSError):
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    return Moved([tuple(span) for span in json.loads(data[_LENGTH.size : end])], data[end:])


@contextmanager
def _opened(whole: Path) -> Iterator[BinaryIO | None]:
    """The whole file; None if it is not there."""
    try:
        file = whole.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file


def _read(file: BinaryIO | None, start: int, count: int) -> bytes:
    if file is None:
        return b""
    file.seek(start)
    return file.read(count)
