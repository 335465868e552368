"""``spp plan``: the arithmetic on known rates, and a measured sample through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sppcli.bench.plan import Rates, Run, forecast
from tests.conftest import Run as Cli
from tests.conftest import Voc
from tests.stages.conftest import write_network

RATES = Rates("propose", 2.0, 0.5, 10**9, 2000.0, 100.0, 100.0)


def test_a_line_through_the_times_of_two_runs() -> None:
    rates = Rates.of("extract", [Run(10, 7.0, 5), Run(30, 17.0, 9)], 100.0, 40.0, True)
    assert (rates.start, rates.per_image) == (pytest.approx(2.0), pytest.approx(0.5))
    assert (rates.memory, rates.scratch) == (9, 40.0)


def test_one_worker_does_all_the_work() -> None:
    found = forecast(RATES, 7200, 1)
    assert (found.shards, found.workers) == (1, 1)
    assert found.hours == pytest.approx((7200 * 0.5 + 2) / 3600)
    assert found.work == pytest.approx(found.hours)
    assert (found.disk, found.scratch, found.memory) == (720_000, 720_000, 10**9)
    assert found.network == pytest.approx(7200 * 2100 / (found.hours * 3600))


def test_many_workers_share_it_and_wait_for_the_last_shard() -> None:
    found = forecast(RATES, 7200, 10)
    assert found.shards == 80
    work = 7200 * 0.5 + 80 * 2
    assert found.work == pytest.approx(work / 3600)
    assert found.hours == pytest.approx((work / 10 + work / 160) / 3600)
    assert found.scratch == pytest.approx(720_000 / 8)


def test_workers_without_an_image_do_not_help() -> None:
    assert forecast(RATES, 3, 100).hours == forecast(RATES, 3, 3, 1).hours


def test_the_command_measures_a_sample(voc: Voc, tmp_path: Path, run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.safetensors")
    arguments = ("plan", "voc", "--images", "450000", "--workers", "64", "--sample", "4")
    network = ("--weights", "net.safetensors", "--scales", "96", "--mode", "fast")
    code, out, err = run(*arguments, *network, "--json", "-q")
    assert code == 0, err
    found = json.loads(out)
    assert [item["stage"] for item in found["forecasts"]] == ["propose", "extract"]
    for rates, item in zip(found["rates"], found["forecasts"], strict=True):
        assert (item["images"], item["workers"], item["shards"]) == (450000, 64, 512)
        assert item["hours"] == pytest.approx(item["work"] / 64 * (1 + 64 / 1024))
        assert rates["memory"] > 50e6
        assert rates["per_image"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "voc"]


def test_a_sample_that_cannot_be_worked_on_says_why(
    voc: Voc, tmp_path: Path, run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("plan", "voc", "--images", "10", "--sample", "4", "--weights", "none.safetensors", "-q")
    assert code == 3
    assert "a run of spp extract on the sample failed: spp extract: error: " in err
    assert "none.safetensors: there is no such weights file" in err
