"""One changed file to its reader, and what became of it."""

from __future__ import annotations

import random
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sppcli.errors import SppError
from tests.fuzz.mutate import changed
from tests.fuzz.targets import Target

SECONDS = 20
"""An input that takes longer has no end, as far as its user is concerned."""


class TooLong(BaseException):
    """Not an Exception: no reader catches it."""


def input_of(target: Target, seed: str) -> bytes:
    """The changed file that ``seed`` stands for."""
    return changed(target.seed, random.Random(f"{target.name} {seed}"), target.file.name)


def fault(target: Target, data: bytes) -> str:
    """What is wrong with how ``data`` is read, with its traceback; "" if it is read, or refused in a sentence."""
    target.file.write_bytes(data)
    try:
        with warnings.catch_warnings(), _limited():
            warnings.simplefilter("error")
            target.read(target.file)
    except SppError as error:
        return "" if str(error).strip() else "an error without a text"
    except (Exception, TooLong):
        return traceback.format_exc()
    finally:
        target.file.write_bytes(target.seed)
    return ""


@contextmanager
def _limited() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def kept(folder: Path) -> dict[str, list[Path]]:
    """Target -> the inputs that were once found, in ``folder``/TARGET/."""
    return {place.name: sorted(place.iterdir()) for place in sorted(folder.iterdir()) if place.is_dir()}
