"""Bars for a terminal."""

from sppcli.report.bars import bar


def test_bars_are_in_proportion() -> None:
    assert bar(8, 8, 4) == "████"
    assert bar(4, 8, 4) == "██"
    assert bar(1, 8, 4) == "▌"
    assert bar(1, 10**6, 4) == "▏"
    assert bar(0, 8, 4) == ""
    assert bar(8, 8, 4, plain=True) == "####"
