"""``spp bench rcnn``: operations counted by hand, both ways alike, and what is printed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from sppcli.bench import methods
from sppcli.bench.networks import random_network
from sppcli.bench.operations import conv_operations, fc_operations
from sppcli.bench.pictures import draw_picture, draw_windows
from sppcli.features.conv_maps import Extractor
from sppcli.features.rcnn import RcnnReader
from sppcli.features.windows import HeldMaps, WindowReader
from sppcli.geometry.projection import CellGrid
from sppcli.images import size_at
from sppcli.paper import DEFAULT
from tests.conftest import Run
from tests.stages.conftest import write_network

QUICK = ("bench", "rcnn", "--net", "tiny", "--windows", "40", "--rcnn-windows", "8", "--context", "4")


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


def test_a_table_and_what_was_measured(run: Run) -> None:
    code, out, err = run(*QUICK, "--scales", "48", "--scales", "48,64")
    assert code == 0, err
    for words in (
        "R-CNN",
        "SPP-net 48,64",
        "quotient",
        "multiply-adds",
        "1 image, drawn",
        "random weights",
        "8 of them and scaled up",
    ):
        assert words in out


def test_the_numbers_fit_each_other(run: Run, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    code, out, err = run(*QUICK, str(tmp_path / "a.png"), "--scales", "48", "--scales", "48,64", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["images"], result["drawn_images"], result["measured"], result["windows"]) == (1, False, 8, 40)
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
        assert row["layers_ratio"] == pytest.approx(
            (rcnn["cost"]["seconds"]["conv"] + rcnn["cost"]["seconds"]["fc"]) / (seconds["conv"] + seconds["fc"])
        )
        assert row["conv_ratio"] == pytest.approx(rcnn["cost"]["seconds"]["conv"] / seconds["conv"])
        assert row["total_ratio"] == pytest.approx(rcnn["total_seconds"] / row["total_seconds"])
        assert min(seconds.values()) > 0
    assert rcnn["operations_ratio"] == 1
    assert one["operations_ratio"] > two["operations_ratio"] > 1


def test_seconds_are_those_of_all_windows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that moves by a second whenever it is read, each piece of work takes one."""
    ticks = itertools.count()
    monkeypatch.setattr(methods, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    code, out, err = run(*QUICK, "--batch", "4", "--repeat", "2", "--scales", "48,64", "--json")
    assert code == 0, err
    slow, fast = json.loads(out)["rows"]
    # Two batches of four of the 40 windows, five times that for all; one map a scale, the rest in one go, as is
    # R-CNN's way through the fc layers.
    assert slow["cost"]["seconds"] == {"prepare": 10, "conv": 10, "pool": 10, "fc": 5}
    assert fast["cost"]["seconds"] == {"prepare": 2, "conv": 2, "pool": 1, "fc": 1}
    assert (fast["conv_ratio"], fast["total_ratio"]) == (5, pytest.approx(35 / 6))


def test_each_saving_is_a_row_and_counted(run: Run) -> None:
    code, out, err = run(*QUICK, "--best", "--svd", "20,10", "--scales", "48", "--precision", "fp32", "--json")
    assert code == 0, err
    result = json.loads(out)
    plain, rcnn, spp, distinct, svd = result["rows"]
    assert [row["step"] for row in result["rows"]] == ["torch's layers", "", "", "unique regions", "SVD 20,10"]
    assert result["source"] == "of Selective Search"
    network = random_network("tiny")
    count = result["windows"]
    one = fc_operations(network.head, "fc7")
    assert all(row["cost"]["fc_operations"] == count * one for row in (plain, rcnn, spp))
    for row in result["rows"]:
        assert row["plain_ratio"] == pytest.approx(plain["total_seconds"] / row["total_seconds"])
        assert row["total_ratio"] == pytest.approx(rcnn["total_seconds"] / row["total_seconds"])
    # Tiny maps: many windows see the same cells.
    assert 0 < distinct["cost"]["windows"] == svd["cost"]["windows"] < count
    assert distinct["cost"]["fc_operations"] == distinct["cost"]["windows"] * one
    narrow = 20 * (50 * 64 + 256) + 10 * (256 + 256)
    assert svd["cost"]["fc_operations"] == svd["cost"]["windows"] * narrow
    text = run(*QUICK, "--best", "--svd", "20,10", "--scales", "48", "--precision", "fp32")[1]
    for words in ("R-CNN, torch's layers", "+ unique regions", "of them unique", "x plain"):
        assert words in text


def test_best_has_bfloat16_where_it_is_asked_for(run: Run) -> None:
    code, out, err = run(*QUICK, "--best", "--svd", "20,10", "--scales", "48", "--precision", "bf16", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "fp32", "fp32", "bf16", "bf16", "bf16"]
    assert [row["step"] for row in rows][3:] == ["bf16", "unique regions", "SVD 20,10"]


@given(st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_distinct_windows_have_the_features_that_all_have(seed: int) -> None:
    """And those are `WindowReader`'s, in whatever blocks they go through the fc layers."""
    network = random_network("tiny", seed % 3)
    random = np.random.default_rng(seed)
    image = draw_picture(random, 60, 80)
    windows = draw_windows(random, image, 30)
    runs = methods.Methods(network, torch.device("cpu"), 4, 8, 7)
    runs.prepare_head("fp32")
    plain = runs.spp(image, windows, methods.Variant((48, 64), "fp32"))[1]
    cost, distinct = runs.spp(image, windows, methods.Variant((48, 64), "fp32", True))
    assert plain.shape == (30, 256)
    np.testing.assert_allclose(distinct.numpy(), plain.numpy(), rtol=1e-4, atol=1e-6)
    extractor = Extractor(network, torch.device("cpu"), "fp32")
    held = HeldMaps((60, 80), tuple(extractor(image, scale).astype(np.float32) for scale in (48, 64)))
    grid = CellGrid(network.grid.stride, network.grid.centre, DEFAULT.slack)
    reader = WindowReader((48, 64), grid, 32.0, 64, (6, 3, 2, 1), DEFAULT.scale_rule, layer="fc7", head=network.head)
    np.testing.assert_allclose(reader.features(held, windows), plain.numpy(), rtol=1e-4, atol=1e-6)
    assert cost.windows == len(np.unique(reader.keys(held, windows), axis=0))


def test_rcnn_computes_what_spp_extract_does() -> None:
    network = random_network("tiny")
    random = np.random.default_rng(5)
    image = draw_picture(random, 60, 80)
    windows = draw_windows(random, image, 10)
    device = torch.device("cpu")
    runs = methods.Methods(network, device, 4, 3, 4)
    runs.prepare_head("fp32")
    cost, found = runs.rcnn(image, windows, "fp32", 10)
    reader = RcnnReader(network, device, "fp32", (6, 3, 2, 1), "fc7", network.head, 32, 4)
    np.testing.assert_allclose(found.numpy(), reader(image, windows), rtol=2e-3, atol=1e-4)
    assert cost.windows == 10


def test_torchs_layers_give_the_maps_that_our_kernels_give() -> None:
    """Of a network whose normalisation torch has, too."""
    network = random_network("convnet5")
    random = np.random.default_rng(5)
    image = draw_picture(random, 60, 80)
    windows = draw_windows(random, image, 2)
    runs = methods.Methods(network, torch.device("cpu"), 16, 2, 2)
    runs.prepare_head("fp32")
    ours, torchs = (runs.rcnn(image, windows, "fp32", 2, plain)[1].numpy() for plain in (False, True))
    np.testing.assert_allclose(ours, torchs, rtol=1e-4, atol=1e-6)


def test_a_drawn_picture_has_a_photographs_spectrum() -> None:
    """Neighbours are alike, and halves of it differ: amplitude falls as 1 over frequency."""
    image = draw_picture(np.random.default_rng(0), 120, 160).astype(float)
    assert image.shape == (120, 160, 3)
    spectrum = np.abs(np.fft.rfft2(image.mean(axis=2)))[0]
    slope = np.polyfit(np.log(np.arange(1, 60)), np.log(spectrum[1:60]), 1)[0]
    assert -1.5 < slope < -0.6


def test_windows_of_a_proposals_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture = draw_picture(np.random.default_rng(0), 96, 128)
    Path("images").mkdir()
    for name in ("a", "b"):
        Image.fromarray(picture if name == "a" else 255 - picture).save(f"images/{name}.png")
    code, out, err = run("propose", "images/a.png", "-j", "1", "-q", "--json")
    assert code == 0, err
    stored = json.loads(out)["windows"]
    code, out, err = run(*QUICK, "images/a.png", "--windows", "5000", "--proposals", "proposals.h5", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["windows"], result["source"]) == (stored, "of a proposals file")
    code, _, err = run(*QUICK, "images/b.png", "--proposals", "proposals.h5")
    assert code == 3
    assert "b.png" in err
    assert "spp propose" in err
    assert run(*QUICK, "--proposals", "proposals.h5")[0] == 2
    assert run(*QUICK, "images/a.png", "--proposals", "gone.h5")[0] == 3


def test_a_trained_network_is_taken_from_its_file(run: Run, tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.safetensors")
    options = ("--weights", str(path), "--windows", "20", "--rcnn-windows", "4", "--scales", "64")
    code, out, err = run("bench", "rcnn", *options, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["network"], result["random_weights"], result["layer"]) == ("two-layers", False, "fc6")
    assert "random weights" not in run("bench", "rcnn", *options)[1]


def test_what_cannot_be_measured_is_one_sentence(run: Run, tmp_path: Path) -> None:
    code, _, err = run("bench", "rcnn", "--net", "zf6")
    assert code == 2
    assert "zf5" in err
    assert run("bench", "rcnn", "--net", "tiny", "--weights", "x.pth")[0] == 2
    assert run(*QUICK, "--svd", "20,10")[0] == 2
    code, _, err = run(*QUICK, "--best", "--svd", "20,256", "--scales", "48")
    assert code == 2
    assert "fc7" in err
    code, _, err = run("bench", "rcnn", "--net", "tiny")
    assert code == 2
    assert "--context 16" in err
    code, _, err = run(*QUICK, str(tmp_path / "gone.jpg"))
    assert code == 3
    assert "gone.jpg" in err
    Image.new("RGB", (1, 9)).save(tmp_path / "thin.png")
    assert run(*QUICK, str(tmp_path / "thin.png"))[0] == 3
