"""Multi-size training: both sizes are used, on the same crops, and a seed decides the weights."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from sppcli.images import Normalisation
from sppcli.learn import multisize
from sppcli.learn.multisize import InMemory, TrainingConfig, accuracy, random_crops, to_input, train, varied
from sppcli.nets.backbones import run_trunk
from sppcli.nets.classifier import Architecture, Layer
from sppcli.nets.weights import load_network, save_network

ARCHITECTURE = Architecture(
    "tiny",
    (Layer("conv", 3, 2, 1, 8), Layer("maxpool", 2, 2), Layer("conv", 3, 1, 1, 8)),
    (2, 1),
    (16,),
    ("across", "down"),
    Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    20,
)
TINY = TrainingConfig(sizes=(20, 16), epochs=6, batch=8, learning_rate=0.05, colour=0.05, seed=1)


def stripes(count: int, seed: int = 0) -> InMemory:
    """Images (24, 24) with a bright bar: across (0) or down (1)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(40, 90, size=(count, 24, 24, 3)).astype(np.uint8)
    labels = rng.integers(0, 2, size=count)
    for image, label in zip(images, labels, strict=True):
        at = int(rng.integers(8, 14))
        view = image if label == 0 else image.transpose(1, 0, 2)
        view[at : at + 3] = 220
    return InMemory(images, labels.astype(np.int64))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_it_learns() -> None:
    model, history = train(ARCHITECTURE, stripes(120), TINY)
    assert history[-1].loss < 0.5 * history[0].loss
    for size in TINY.sizes:
        assert accuracy(model, stripes(60, seed=9), 20, size) > 0.9


def test_sizes_take_turns_an_epoch_each_and_the_rate_falls_in_steps() -> None:
    seen: list[int] = []

    def watched(images: np.ndarray, size: int, normalisation: Normalisation) -> torch.Tensor:
        value = to_input(images, size, normalisation)
        assert value.shape[2:] == (size, size)
        seen.append(size)
        return value

    config = TrainingConfig(sizes=(20, 16), epochs=4, batch=10, learning_rate=0.1, steps=(0.5, 0.75))
    with patch.object(multisize, "to_input", watched):
        _, history = train(ARCHITECTURE, stripes(30), config)
    assert seen == [20] * 3 + [16] * 3 + [20] * 3 + [16] * 3
    assert [epoch.size for epoch in history] == [20, 16, 20, 16]
    np.testing.assert_allclose([epoch.rate for epoch in history], [0.1, 0.1, 0.01, 0.001])


def test_the_smaller_image_is_the_same_crop_resized() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 12, dtype=np.uint8)[None, None, :, None], (1, 20, 20, 3))
    plain = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
    large, small = to_input(ramp, 20, plain), to_input(ramp, 10, plain)
    np.testing.assert_array_equal(large[0, 0, 0], ramp[0, 0, :, 0])
    # Halved with antialiasing, a ramp stays the ramp: it shows all of the crop, not its middle.
    np.testing.assert_allclose(small[0, 0, 0, 1:-1], np.arange(6, 240, 24)[1:-1], atol=0.5)


def test_crops_are_cut_at_random_places_inside() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24].astype(np.uint8)
    images = np.broadcast_to(np.stack([y, x, x], axis=2), (200, 24, 24, 3))
    cut = random_crops(images, 20, rng)
    corners = cut[:, 0, 0, :2]
    assert cut.shape == (200, 20, 20, 3)
    assert {tuple(corner) for corner in corners} == {(a, b) for a in range(5) for b in range(5)}
    np.testing.assert_array_equal(cut[:, -1, -1, :2], corners + 19)
    with pytest.raises(ValueError, match="smaller than the crop of 25"):
        random_crops(images, 25, rng)


def test_colours_vary_by_image_and_not_at_all_when_told_so() -> None:
    images = np.full((50, 4, 4, 3), 120, dtype=np.uint8)
    changed = varied(images, 0.1, np.random.default_rng(0))
    assert (changed.std(axis=(1, 2)) == 0).all()  # one change for the whole of an image
    assert 5 < changed[:, 0, 0].std() < 40
    np.testing.assert_array_equal(varied(images, 0.0, np.random.default_rng(0)), images)


def test_a_seed_decides_the_weights() -> None:
    short = TrainingConfig(sizes=(20, 16), epochs=2, batch=8, seed=5)
    first, history = train(ARCHITECTURE, stripes(40), short)
    again, history_again = train(ARCHITECTURE, stripes(40), short)
    other, _ = train(ARCHITECTURE, stripes(40), TrainingConfig(sizes=(20, 16), epochs=2, batch=8, seed=6))
    assert same(first, again)
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in history_again]
    assert not same(first, other)


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train(ARCHITECTURE, stripes(16), TrainingConfig(sizes=(20,), epochs=1, batch=8))
    assert torch.equal(torch.rand(4), expected)


def test_a_saved_network_gives_the_same_maps_and_keeps_its_description(tmp_path: Path) -> None:
    model, _ = train(ARCHITECTURE, stripes(40), TrainingConfig(sizes=(20, 16), epochs=1, batch=8))
    save_network(tmp_path / "tiny.safetensors", model, {"seed": 0})
    network = load_network(str(tmp_path / "tiny.safetensors"))
    image = to_input(stripes(1).images, 24, ARCHITECTURE.normalisation)
    with torch.inference_mode():
        assert torch.equal(run_trunk(network.trunk, image), model.trunk(image))
        assert network.head is not None
        pooled = model.pool(model.trunk(image))
        assert torch.allclose(network.head.run(pooled, "fc6"), torch.relu(model.fc["fc6"](pooled)))
    assert network.canonical == 20
    assert network.classes == ("across", "down")
    assert network.levels == (2, 1)
    assert network.normalisation == ARCHITECTURE.normalisation


class Counting:
    def __init__(self) -> None:
        self.total = self.done = 0

    def start(self, total: int, unit: str) -> None:
        self.total, self.done = total, 0

    def advance(self, n: int = 1) -> None:
        self.done += n

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        raise AssertionError(text)


def test_progress_reaches_its_end() -> None:
    progress = Counting()
    train(ARCHITECTURE, stripes(21), TrainingConfig(sizes=(20, 16), epochs=3, batch=8), progress)
    assert progress.done == progress.total == 63


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(ValueError, match="no samples"):
        train(ARCHITECTURE, stripes(0), TINY)
    with pytest.raises(ValueError, match="first size must be the largest"):
        TrainingConfig(sizes=(16, 20))
