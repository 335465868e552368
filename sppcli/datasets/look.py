"""One look at an image file, as a worker process of ``spp check`` takes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sppcli.errors import MissingInput, SppError


@dataclass(frozen=True)
class Look:
    """``size``: width and height, upright, or None where the file cannot be read.

    ``content``: digest of what it shows, equal for equal pixels; ``file``: SHA-256 of its bytes. ``problem``: why it
    cannot be read, else ""; ``missing``: because it is not there.
    """

    size: tuple[int, int] | None
    content: str = ""
    file: str = ""
    problem: str = ""
    missing: bool = False


def look(path: Path, pixels: bool = True) -> Look:
    """Decode an image; without ``pixels`` only its header, and ``content`` is that of the file's bytes."""
    from sppcli.images import decode, digest, problem_with, read_bytes, upright_size

    file = ""
    try:
        data = read_bytes(path)
        file = digest(data)
        if not pixels:
            problem = problem_with(path)
            return Look(None, file=file, problem=problem) if problem else Look(upright_size(path), file, file)
        image = decode(data, str(path))
    except SppError as error:
        return Look(None, file=file, problem=str(error), missing=isinstance(error, MissingInput))
    height, width = image.shape[:2]
    return Look((width, height), digest(f"{width} {height} ".encode() + image.tobytes()), file)
