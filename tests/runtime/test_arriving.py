"""Items that come one by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sppcli.runtime.arriving import as_they_come


def test_what_is_there_is_given_before_more_is_waited_for() -> None:
    more = threading.Event()

    def lines() -> Iterator[str]:
        yield "a"
        assert more.wait(20), "nobody took the first"
        yield "b"
        yield "c"

    found = as_they_come(lines())
    assert next(found) == ["a"]
    more.set()
    assert [item for items in found for item in items] == ["b", "c"]


def test_what_came_before_an_error_is_given_first() -> None:
    def lines() -> Iterator[str]:
        yield "a"
        raise OSError("gone")

    found = as_they_come(lines())
    assert next(found) == ["a"]
    with pytest.raises(OSError, match="gone"):
        next(found)
    assert list(as_they_come(())) == []
