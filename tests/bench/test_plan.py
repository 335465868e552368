"""``spp plan``: the arithmetic on known rates, and a measured sample through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sppcli.bench.plan import Rates, Sample, forecast
from tests.conftest import Run as Cli
from tests.conftest import Voc
from tests.stages.conftest import write_network

RATES = Rates("propose", 4.0, 2.0, 0.5, 0.01, 10**9, 2000.0, 100.0, 100.0)


def test_rates_are_the_differences_of_runs_in_one_process() -> None:
    samples = [Sample(21, 9.0, 13.0, 3.0, 0.5, 0.1, 5), Sample(21, 11.0, 13.0, 3.0, 0.5, 0.1, 9)]
    rates = Rates.of("extract", samples, 100.0, 40.0, True)
    assert (rates.start, rates.per_shard) == (pytest.approx(7.0), pytest.approx(2.5))
    assert (rates.per_image, rates.merging) == (pytest.approx(0.5), pytest.approx(0.02))
    assert (rates.memory, rates.scratch) == (9, 40.0)


def test_one_worker_does_all_the_work() -> None:
    found = forecast(RATES, 7200, 1)
    assert (found.shards, found.workers) == (1, 1)
    assert found.hours == pytest.approx((7200 * 0.5 + 2 + 4) / 3600)
    assert found.work == pytest.approx(found.hours)
    assert (found.disk, found.scratch, found.memory, found.merging) == (720_000, 720_000, 10**9, 0)
    assert found.network == pytest.approx(7200 * 2100 / (found.hours * 3600))


def test_many_workers_share_it_and_wait_for_the_last_shard() -> None:
    found = forecast(RATES, 7200, 10)
    assert found.shards == 80
    work = 7200 * 0.5 + 80 * 2
    assert found.work == pytest.approx((work + 10 * 4) / 3600)  # a worker starts once
    assert found.merging == pytest.approx(72 / 3600)
    assert found.hours == pytest.approx(((work + 10 * 4) / 10 + work / 160 + 72) / 3600)
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
    assert found["sample"] == 8  # all there are: they take no three seconds
    assert 1 <= found["beside"] <= 8
    assert [item["stage"] for item in found["forecasts"]] == ["propose", "extract"]
    for rates, item in zip(found["rates"], found["forecasts"], strict=True):
        assert (item["images"], item["workers"], item["shards"]) == (450000, 64, 512)
        work = 450000 * rates["per_image"] + 512 * rates["per_shard"]
        assert item["work"] == pytest.approx((work + 64 * rates["start"]) / 3600)
        assert item["merging"] == pytest.approx(450000 * rates["merging"] / 3600)
        assert item["hours"] == pytest.approx(item["work"] / 64 + work / 1024 / 3600 + item["merging"])
        assert rates["memory"] > 50e6
        assert rates["per_image"] > 1e-6
        assert rates["start"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "voc"]


def test_a_sample_that_cannot_be_worked_on_says_why(
    voc: Voc, tmp_path: Path, run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("plan", "voc", "--images", "10", "--sample", "4", "--weights", "none.safetensors", "-q")
    assert code == 3
    assert "a run of spp extract on the sample failed: spp extract: error: " in err
    assert "none.safetensors: there is no such weights file" in err
