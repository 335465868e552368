"""``spp show --explain``: the method drawn over a picture, true to what pooling and the network do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppcli.features.conv_maps import prepare
from sppcli.features.pooling import pool_windows
from sppcli.geometry.projection import CellGrid
from sppcli.nets.backbones import run_trunk
from sppcli.nets.seen_pixels import seen_pixels
from sppcli.nets.weights import load_network
from sppcli.report.teaching import Place, bins_of, heated, strongest, strongest_cell
from tests.conftest import Run
from tests.stages.conftest import write_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    write_network(folder / "net.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder


def explained(run: Run, folder: Path, what: str, *more: str) -> tuple[int, str, str]:
    photo, weights = str(folder / "photo.png"), str(folder / "net.safetensors")
    return run("show", photo, "--explain", what, "--weights", weights, "--scale", "96", *more)


@pytest.mark.parametrize("what", ["pyramid", "receptive-field", "channels"])
def test_a_picture_of_each(run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = explained(run, folder, what)
    assert (code, out) == (0, f"{what}.png\n"), err
    assert "a conv map of 32 x 24 cells and 24 channels" in err
    with Image.open(f"{what}.png") as sheet:
        assert min(sheet.size) > 400
    summary = json.loads(explained(run, folder, what, "-q", "--json", "-o", "sheet.jpg")[1])
    assert (summary["output"], summary["cells"]) == ("sheet.jpg", [24, 32, 24])


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (13, 4), (3, 3)])
def test_bins_are_those_that_are_pooled(size: tuple[int, int]) -> None:
    conv_map = np.random.default_rng(1).random((20, 20, 3)).astype(np.float16)
    cells = (2, 3, 2 + size[1], 3 + size[0])
    for level in (1, 2, 3, 6):
        maxima = [conv_map[y0:y1, x0:x1].max(axis=(0, 1)) for x0, y0, x1, y1 in bins_of(cells, level)]
        pooled = pool_windows(conv_map, np.array([cells], dtype=np.int64), (level,))
        assert np.array_equal(np.concatenate(maxima), pooled[0])


def test_a_cell_sees_what_changes_it(folder: Path) -> None:
    network = load_network(str(folder / "net.safetensors"))
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = prepare([image], 64, network.normalisation, torch.device("cpu"))
    row, column = 7, 5
    ((x0, y0, x1, y1),) = seen_pixels(network.trunk, pixels, [(row, column)])
    grid = network.grid
    for start, end, at in ((x0, x1, column), (y0, y1, row)):
        assert abs((start + end - 1) / 2 - (grid.centre + grid.stride * at)) <= grid.stride / 2
    with torch.inference_mode():
        before = run_trunk(network.trunk, pixels)[0, :, row, column]
        outside = pixels.clone()
        outside[..., : max(0, x0)] += 3
        outside[..., x1:] += 3
        outside[..., : max(0, y0), :] += 3
        outside[..., y1:, :] += 3
        assert torch.equal(run_trunk(network.trunk, outside)[0, :, row, column], before)
        inside = pixels.clone()
        inside[..., y0:y1, x0:x1] += 3
        assert not torch.equal(run_trunk(network.trunk, inside)[0, :, row, column], before)


def test_heat_lies_where_the_cell_looks() -> None:
    values = np.zeros((6, 8), dtype=np.float32)
    values[2, 5] = 4
    place = Place(CellGrid(16, 8), 1.0, 96, 128)
    image = np.full((96, 128, 3), 100, dtype=np.uint8)
    warm = heated(image, values, place).astype(int)
    row, column = np.unravel_index(int(warm.sum(axis=2).argmax()), (96, 128))
    assert (row, column) == (8 + 2 * 16, 8 + 5 * 16)
    x0, y0, x1, y1 = place.box((5, 2, 6, 3))
    assert (x0, y0, x1, y1) == (80, 32, 96, 48)
    assert strongest(np.stack([values, 2 * values, 0 * values], axis=2), 2) == [1, 0]


def test_of_equal_answers_those_at_the_border_come_last() -> None:
    """ReLU6 ends at 6, which padding reaches too."""
    border, middle = np.zeros((16, 16), dtype=np.float32), np.zeros((16, 16), dtype=np.float32)
    border[0], middle[9, 6], middle[0, 3] = 6, 6, 6
    assert strongest(np.stack([border, middle], axis=2), 2) == [1, 0]
    assert strongest_cell(middle) == (9, 6)


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["photo.png", "photo.png"], 2, "--explain draws over one image"),
        (["photo.png", "--box", "1,2,3"], 2, "--box is four numbers"),
        (["photo.png", "--box", "500,500,600,600"], 3, "has 128 x 96 pixels, and the box"),
        (["photo.png", "-o", "photo.png"], 2, "photo.png"),
        (["photo.png", "-o", "a.gif"], 2, "pictures are PNG or JPEG"),
        (["nowhere.png"], 3, "nowhere.png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refusals(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, part: str
) -> None:
    monkeypatch.chdir(folder)
    result, _, err = run("show", *arguments, "--explain", "pyramid", "--weights", "net.safetensors", "-q")
    assert (result, part in err) == (code, True), err
