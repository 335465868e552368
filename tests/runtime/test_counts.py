"""Counts agree with their nouns."""

from __future__ import annotations

import pytest

from sppcli.runtime.counts import count_of


@pytest.mark.parametrize(
    ("number", "one", "many", "expected"),
    [
        (0, "image", "", "0 images"),
        (1, "image", "", "1 image"),
        (1_200, "image", "", "1,200 images"),
        (1, "class", "classes", "1 class"),
        (2, "class", "classes", "2 classes"),
        (1, "image has", "images have", "1 image has"),
    ],
)
def test_one_is_singular_and_all_else_plural(number: int, one: str, many: str, expected: str) -> None:
    assert count_of(number, one, many) == expected
