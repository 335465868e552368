"""The simulation of docs/stragglers.md, in worlds whose outcome is known."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def stragglers() -> ModuleType:
    path = Path(__file__).parent.parent / "docs" / "make_stragglers.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_one_sure_worker_does_everything_one_after_the_other(stragglers: ModuleType) -> None:
    world = stragglers.World(images=1000, workers=1, shards_per_worker=4, slow=0.0, spread=0.0, lives=0.0)
    found = stragglers.simulate(world)
    ideal = found.hours * 3600 / (1 + found.over)
    assert found.hours * 3600 == pytest.approx(ideal + world.start + 4 * world.per_shard)
    mean = sum(stragglers.PROPOSE_MS) / len(stragglers.PROPOSE_MS) / 1000
    assert ideal == pytest.approx(1000 * mean, rel=0.05)
    assert (found.lost, found.again, found.most) == (0, 0.0, 0)


def test_smaller_shards_wait_less_for_a_slow_worker(stragglers: ModuleType) -> None:
    world = stragglers.World(images=40_000, workers=50, slow=0.1, lives=0.0)
    over = [stragglers.simulate(replace(world, shards_per_worker=count)).over for count in (1, 4, 16)]
    assert over[0] > 5 * max(over[1:]) > 0
    assert stragglers.simulate(world) == stragglers.simulate(world)


def test_lost_workers_cost_an_image_each_or_without_parts_what_they_had_made(stragglers: ModuleType) -> None:
    world = stragglers.World(images=40_000, workers=20, shards_per_worker=2, slow=0.0, lives=600.0)
    kept, anew = stragglers.simulate(world), stragglers.simulate(replace(world, resumes=False))
    assert kept.lost > 10
    assert kept.most >= 1
    mean = sum(stragglers.PROPOSE_MS) / len(stragglers.PROPOSE_MS) / 1000
    assert 0 < kept.again * 3600 <= kept.lost * mean * 1.05
    assert anew.again > 20 * kept.again
    assert anew.hours > kept.hours
