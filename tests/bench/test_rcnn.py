"""``spp bench rcnn``: operations counted by hand, both ways alike, and what is printed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sppcli.bench import rcnn as bench
from sppcli.bench.networks import random_network
from sppcli.bench.operations import conv_operations, fc_operations
from sppcli.bench.rcnn import draw_windows
from sppcli.cli.main import main
from sppcli.images import size_at
from tests.stages.conftest import write_network

QUICK = ("bench", "rcnn", "--net", "tiny", "--windows", "40", "--rcnn-windows", "8", "--context", "4")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_multiply_adds_are_those_of_table_1_counted_by_hand() -> None:
    network = random_network("zf5")
    # Maps of a 224 input: conv1 110, pooled to 55; conv2 26, pooled to 13; then 13.
    expected = (
        110 * 110 * 96 * 3 * 49
        + 26 * 26 * 256 * 96 * 25
        + 13 * 13 * 384 * 256 * 9
        + 13 * 13 * 384 * 384 * 9
        + 13 * 13 * 256 * 384 * 9
    )
    assert conv_operations(network.trunk, 224, 224) == expected
    assert fc_operations(network.head, "fc6") == 50 * 256 * 4096
    assert fc_operations(network.head, "fc7") == 50 * 256 * 4096 + 4096 * 4096
    assert fc_operations(network.head, "pool5") == 0


def test_the_guides_ratios_for_zf5() -> None:
    """145 and 21 times by conv layers alone, 15 and 10 with the fc layers."""
    network = random_network("zf5")
    rcnn = 2000 * conv_operations(network.trunk, 224, 224)
    fc = 2000 * fc_operations(network.head, "fc7")
    for scales, conv_ratio, ratio in (((688,), 145, 15), ((480, 576, 688, 864, 1200), 21, 10)):
        spp = sum(conv_operations(network.trunk, *size_at(375, 500, scale)) for scale in scales)
        assert (round(rcnn / spp), round((rcnn + fc) / (spp + fc))) == (conv_ratio, ratio)


def test_groups_count_and_the_network_is_left_as_it_was() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, (3, 3), groups=2))
    assert conv_operations(trunk, 10, 7) == 10 * 7 * 8 * 27 + 8 * 5 * 4 * 4 * 9
    assert trunk(torch.zeros(1, 3, 10, 7)).device.type == "cpu"


def test_a_random_network_is_the_seeds_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.rand(2)
    torch.manual_seed(3)
    first = random_network("tiny", 1)
    assert torch.equal(torch.rand(2), before)
    assert first.digest == random_network("tiny", 1).digest != random_network("tiny", 2).digest


def test_windows_lie_in_the_image() -> None:
    for height, width in ((375, 500), (30, 9), (2, 2)):
        boxes = draw_windows(np.random.default_rng(0), np.zeros((height, width, 3), np.uint8), 500)
        assert boxes.shape == (500, 4)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes[:, 2:] <= [width, height]).all()


def test_a_table_and_what_was_measured(run: Call) -> None:
    code, out, err = run(*QUICK, "--scales", "48", "--scales", "48,64")
    assert code == 0, err
    for words in ("R-CNN", "SPP-net 48,64", "conv x", "multiply-adds", "random weights", "8 of them and scaled up"):
        assert words in out


def test_the_numbers_fit_each_other(run: Call, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    code, out, err = run(*QUICK, str(tmp_path / "a.png"), "--scales", "48", "--scales", "48,64", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["images"], result["random_images"], result["measured"], result["windows"]) == (1, False, 8, 40)
    rcnn, one, two = result["rows"]
    network = random_network("tiny")
    assert rcnn["cost"]["conv_operations"] == 40 * conv_operations(network.trunk, 32, 32)
    assert two["cost"]["conv_operations"] == sum(
        conv_operations(network.trunk, height, width) for height, width in ((48, 64), (64, 85))
    )
    assert rcnn["cost"]["fc_operations"] == one["cost"]["fc_operations"] == 40 * fc_operations(network.head, "fc7")
    for row in result["rows"]:
        seconds = row["cost"]["seconds"]
        assert row["total_seconds"] == pytest.approx(sum(seconds.values()))
        assert row["conv_ratio"] == pytest.approx(rcnn["cost"]["seconds"]["conv"] / seconds["conv"])
        assert row["total_ratio"] == pytest.approx(rcnn["total_seconds"] / row["total_seconds"])
        assert min(seconds.values()) > 0
    assert rcnn["operations_ratio"] == 1
    assert one["operations_ratio"] > two["operations_ratio"] > 1


def test_seconds_are_those_of_all_windows(run: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that moves by a second whenever it is read, each piece of work takes one."""
    ticks = itertools.count()
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    code, out, err = run(*QUICK, "--batch", "4", "--repeat", "2", "--scales", "48,64", "--json")
    assert code == 0, err
    slow, fast = json.loads(out)["rows"]
    # Two batches of four of the 40 windows, five times that for all; one map a scale, the rest in one go.
    assert slow["cost"]["seconds"] == dict.fromkeys(("prepare", "conv", "pool", "fc"), 10)
    assert fast["cost"]["seconds"] == {"prepare": 2, "conv": 2, "pool": 1, "fc": 1}
    assert (fast["conv_ratio"], fast["total_ratio"]) == (5, pytest.approx(40 / 6))


def test_a_trained_network_is_taken_from_its_file(run: Call, tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.safetensors")
    options = ("--weights", str(path), "--windows", "20", "--rcnn-windows", "4", "--scales", "64")
    code, out, err = run("bench", "rcnn", *options, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["network"], result["random_weights"], result["layer"]) == ("two-layers", False, "fc6")
    assert "random weights" not in run("bench", "rcnn", *options)[1]


def test_what_cannot_be_measured_is_one_sentence(run: Call, tmp_path: Path) -> None:
    code, _, err = run("bench", "rcnn", "--net", "zf6")
    assert code == 2
    assert "zf5" in err
    assert run("bench", "rcnn", "--net", "tiny", "--weights", "x.pth")[0] == 2
    code, _, err = run("bench", "rcnn", "--net", "tiny")
    assert code == 2
    assert "--context 16" in err
    code, _, err = run(*QUICK, str(tmp_path / "gone.jpg"))
    assert code == 3
    assert "gone.jpg" in err
    Image.new("RGB", (1, 9)).save(tmp_path / "thin.png")
    assert run(*QUICK, str(tmp_path / "thin.png"))[0] == 3
