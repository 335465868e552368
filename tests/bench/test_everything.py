"""``spp bench``: every part is asked once, in order, and the table says what its rows say."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from types import ModuleType

import pytest

import sppcli.bench
from sppcli.bench import everything
from sppcli.bench.measure import Machine, Row
from sppcli.cli import console
from tests.conftest import Run

MACHINE = Machine(2, {"fp32": 80e9, "bf16": 320e9}, 25e9)
ROWS = {
    "first": [
        Row("start", "spp --help", 0.081, 0.0204, "Python, doing nothing", "click alone", 0.062),
        Row("start", "spp detect --help, the slowest of 18", 0.12),
    ],
    "second": [
        Row("conv", "ZF-5, 688 x 917 pixels, fp32", 1.234, 0.5, "multiply-adds", "LocalResponseNorm of torch", 370.2)
    ],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two parts in place of the real ones; the names of those asked for rows."""
    names: list[str] = []

    def part(name: str) -> ModuleType:
        def rows(machine: Machine) -> list[Row]:
            assert machine is MACHINE
            names.append(name)
            return ROWS[name]

        module = ModuleType(f"sppcli.bench.{name}")
        module.rows = rows  # type: ignore[attr-defined]
        return module

    for name in ROWS:
        monkeypatch.setitem(sys.modules, f"sppcli.bench.{name}", part(name))
    monkeypatch.setattr(everything, "PARTS", tuple(ROWS))
    monkeypatch.setattr(everything, "this_machine", lambda: MACHINE)
    return names


def test_every_module_with_rows_is_a_part_and_every_part_has_them() -> None:
    """A part that is written but not listed would never be measured."""
    modules = [item.name for item in pkgutil.iter_modules(sppcli.bench.__path__)]
    having = [name for name in modules if hasattr(importlib.import_module(f"sppcli.bench.{name}"), "rows")]
    assert sorted(everything.PARTS) == sorted(having)


def test_a_line_for_every_row_with_its_ratios(run: Run, asked: list[str]) -> None:
    code, out, err = run("bench")
    assert code == 0, err
    assert asked == ["first", "second"]
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "2 threads: 80 (fp32), 320 (bf16) billion multiply-adds/s, 25.0 GB/s copied"
    assert "start spp --help 81 ms 20.4 ms 3.97 click alone 62 ms 0.765" in lines
    assert "start spp detect --help, the slowest of 18 120 ms - - - - -" in lines
    assert "conv ZF-5, 688 x 917 pixels, fp32 1.23 s 500 ms 2.47 LocalResponseNorm of torch 370 s 300" in lines
    assert lines[-3:] == ["floor", "start Python, doing nothing", "conv multiply-adds"]
    assert "bench: 3 parts in" in err
    assert run("bench", "-q")[2] == ""
    assert "bench: second" in run("bench", "-v")[2]


def test_only_some_parts_in_the_order_of_all(run: Run, asked: list[str]) -> None:
    assert run("bench", "--only", "second")[0] == 0
    assert asked == ["second"]
    assert run("bench", "--only", "second,first")[0] == 0
    assert asked == ["second", "first", "second"]
    code, _, err = run("bench", "--only", "third")
    assert code == 2
    assert "third" in err
    assert "first, second" in err


def test_json_has_rates_and_ratios(run: Run, asked: list[str]) -> None:
    code, out, err = run("bench", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["machine"] == {"threads": 2, "products": {"fp32": 80e9, "bf16": 320e9}, "copies": 25e9}
    assert [item["part"] for item in report["measurements"]] == ["first", "first", "second"]
    first, second, third = report["measurements"]
    assert first["row"]["seconds"] == 0.081
    assert first["over_floor"] == pytest.approx(0.081 / 0.0204)
    assert (second["over_floor"], second["faster_than_peer"]) == (None, None)
    assert third["faster_than_peer"] == pytest.approx(300)


def test_flags_of_all_parts_are_refused_before_rcnn(run: Run) -> None:
    for flags in (("--json",), ("--only", "conv")):
        code, _, err = run("bench", *flags, "rcnn")
        assert code == 2
        assert flags[0] in err


def test_numbers_stay_whole_on_a_terminal_of_80_columns(
    run: Run, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_is_terminal", lambda stream: stream is sys.stdout)
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run("bench", "-q")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    for number in ("81 ms", "20.4 ms", "3.97", "62 ms", "0.765", "1.23 s", "2.47", "370 s", "300"):
        assert number in out
