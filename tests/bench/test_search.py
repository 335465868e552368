"""Both searches are measured on pictures with enough to find, and must find the same."""

import numpy as np
import pytest

from sppcli.bench import search
from sppcli.bench.measure import Machine

MACHINE = Machine(1, {"fp32": 1.0}, 1.0)


def test_rows():
    fast, single = search.rows(MACHINE, (60, 80), 2)
    assert fast.what.startswith("mode fast: 2 images of 80 x 60, ")
    assert single.what.startswith("mode single: 2 images of 80 x 60, ")
    for row in (fast, single):
        assert row.seconds > 0
        assert row.peer_seconds > 0
        assert row.floor is None


def test_other_windows_are_no_result(monkeypatch):
    monkeypatch.setattr(search, "opencv_regions", lambda image, mode: np.zeros((1, 4), np.int32))
    with pytest.raises(AssertionError, match="not those of OpenCV"):
        search.rows(MACHINE, (60, 80), 1, ("single",))


def test_pictures_have_parts_of_many_sizes():
    picture = search.photograph((120, 160), 0)
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    assert 20 < picture.std() < 90
    np.testing.assert_array_equal(picture, search.photograph((120, 160), 0))
    assert (picture != search.photograph((120, 160), 1)).mean() > 0.9
