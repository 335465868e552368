"""Rates, floors and alternated runs."""

import pytest

from sppcli.bench.measure import Machine, Row, alternated, this_machine


def test_the_floor_is_the_larger_of_arithmetic_and_bytes():
    machine = Machine(2, {"fp32": 100.0, "bf16": 400.0}, 10.0)
    assert machine.floor(200, 5) == 2.0
    assert machine.floor(200, 5, "bf16") == 0.5
    assert machine.floor(200, 50) == 5.0


def test_a_row_knows_its_ratios():
    row = Row("pool", "2,000 windows", 2.0, 1.0, "writing the result", "roi_pool", 50.0)
    assert row.over_floor == 2.0
    assert row.faster_than_peer == 25.0
    assert Row("a", "b", 1.0).over_floor is None
    assert Row("a", "b", 1.0).faster_than_peer is None


def test_runs_are_taken_in_turn():
    calls = []
    best = alternated({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert set(best) == {"a", "b"}
    assert all(0 <= value < 1 for value in best.values())


def test_rates_of_this_machine_are_believable():
    machine = this_machine(1)
    assert machine.threads >= 1
    assert 1e8 < machine.products["fp32"] < 1e14
    assert 1e7 < machine.copies < 1e13
    assert machine.floor(2048**3) == pytest.approx(2048**3 / machine.products["fp32"])
