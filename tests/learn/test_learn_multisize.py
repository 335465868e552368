"""Multi-size training: both sizes are used, on the same crops, and a seed decides the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.errors import BadInput, UsageProblem
from sppcli.images import Normalisation
from sppcli.learn import multisize
from sppcli.learn.checkpoints import Checkpoints, Tensors
from sppcli.learn.loading import InMemory
from sppcli.learn.multisize import accuracy, train
from sppcli.learn.schedule import Plateau, TrainingConfig
from sppcli.nets.backbones import run_trunk
from sppcli.nets.classifier import Architecture, Layer
from sppcli.nets.pixels import to_input
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
TINY = TrainingConfig(
    sizes=(20, 16),
    epochs=6,
    batch=8,
    learning_rate=0.05,
    schedule="steps",
    flip=False,
    colour="jitter",
    strength=0.05,
    seed=1,
)


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

    def watched(images: torch.Tensor, normalisation: Normalisation, size: int, *more: object) -> torch.Tensor:
        value = to_input(images, normalisation, size, *more)
        assert value.shape[2:] == (size, size)
        seen.append(size)
        return value

    config = TrainingConfig(sizes=(20, 16), epochs=4, batch=10, learning_rate=0.1, schedule="steps", steps=(0.5, 0.75))
    with patch.object(multisize, "to_input", watched):
        _, history = train(ARCHITECTURE, stripes(30), config)
    assert seen == [20] * 3 + [16] * 3 + [20] * 3 + [16] * 3
    assert [epoch.size for epoch in history] == [20, 16, 20, 16]
    np.testing.assert_allclose([epoch.rate for epoch in history], [0.1, 0.1, 0.01, 0.001])


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
    image = to_input(torch.from_numpy(stripes(1).images), ARCHITECTURE.normalisation)
    with torch.inference_mode():
        assert torch.equal(run_trunk(network.trunk, image), model.trunk(image))
        assert network.head is not None
        pooled = model.pool(model.trunk(image))
        assert torch.allclose(network.head.run(pooled, "fc6"), torch.relu(model.fc["fc6"](pooled)))
    assert network.input_size == 20
    assert network.classes == ("across", "down")
    assert network.levels == (2, 1)
    assert network.normalisation == ARCHITECTURE.normalisation


class Counting:
    def __init__(self) -> None:
        self.total = self.done = 0

    def start(self, total: int, unit: str, found: int = 0) -> None:
        self.total, self.done = total, found

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


class Interrupted(Exception):
    pass


class Stopping(Checkpoints):
    """Checkpoints after every step, until the training is killed at a step of an epoch."""

    def __init__(self, path: Path, epoch: int, step: int) -> None:
        super().__init__(path, "same", seconds=0)
        self.end = epoch, step

    def save(self, position: Callable[[], dict], tensors: Callable[[], Tensors], *, milestone: bool) -> None:
        if (position()["epoch"], position()["step"]) == self.end:
            raise Interrupted  # before the step is kept: it is done again
        super().save(position, tensors, milestone=milestone)


@settings(max_examples=6, deadline=None)
@given(epoch=st.integers(0, 2), step=st.integers(1, 5), schedule=st.sampled_from(["steps", "plateau"]))
def test_a_training_killed_anywhere_ends_with_the_weights_of_one_that_was_not(
    epoch: int, step: int, schedule: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = TrainingConfig(sizes=(20, 16), epochs=3, batch=8, schedule=schedule, seed=2)
    samples, held = stripes(40), stripes(16, seed=4)
    undisturbed, history = train(ARCHITECTURE, samples, config, validation=held)
    path = tmp_path_factory.mktemp("kept") / "net.checkpoint"
    with pytest.raises(Interrupted):
        train(ARCHITECTURE, samples, config, validation=held, keeper=Stopping(path, epoch, step))
    resumed, again = train(ARCHITECTURE, samples, config, validation=held, keeper=Checkpoints(path, "same"))
    assert same(undisturbed, resumed)
    for one, other in zip(history, again, strict=True):
        assert (one.size, one.rate, one.loss, one.right, one.validation_error) == (
            other.size,
            other.rate,
            other.loss,
            other.right,
            other.validation_error,
        )


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.checkpoint"
    train(ARCHITECTURE, stripes(16), replace(TINY, epochs=1), keeper=Checkpoints(path, "one", seconds=0))
    with pytest.raises(UsageProblem, match=r"net.checkpoint belongs to a training with other options or images"):
        train(ARCHITECTURE, stripes(16), TINY, keeper=Checkpoints(path, "other"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"net.checkpoint: not a readable weights file"):
        train(ARCHITECTURE, stripes(16), TINY, keeper=Checkpoints(path, "one"))


def test_a_size_can_be_drawn_for_each_epoch() -> None:
    config = TrainingConfig(sizes=(20, 16), drawn=True, epochs=40, seed=3)
    sizes = [config.size_at(epoch) for epoch in range(40)]
    assert set(sizes) == {16, 17, 18, 19, 20}
    assert sizes == [config.size_at(epoch) for epoch in range(40)]
    short = replace(config, epochs=2, batch=16)
    assert [epoch.size for epoch in train(ARCHITECTURE, stripes(16), short)[1]] == sizes[:2]


def test_training_starts_from_given_weights() -> None:
    first, _ = train(ARCHITECTURE, stripes(40), TINY)
    still = replace(TINY, epochs=1, learning_rate=1e-30, weight_decay=0.0)
    begun, _ = train(ARCHITECTURE, stripes(40), still, initial=first.state_dict())
    assert same(first, begun)


def test_the_rate_falls_when_the_error_stops_falling_and_the_third_time_training_ends() -> None:
    plateau = Plateau(patience=2)
    factors = []
    for error in (0.9, 0.5, 0.5, 0.6, 0.4, 0.4, 0.4, 0.4, 0.39, 0.39, 0.39, 0.39):
        factors.append(round(plateau.factor(), 3))
        plateau.record(error)
    assert factors == [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01]
    assert plateau.over
    # Two sizes that take turns: their ups and downs are no plateau.
    turns = Plateau(patience=2, window=2)
    for i in range(20):
        turns.record(0.9 - 0.02 * i + 0.1 * (i % 2))
    assert turns.factor() == 1


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(ValueError, match="no samples"):
        train(ARCHITECTURE, stripes(0), TINY)
    with pytest.raises(ValueError, match="first size must be the largest"):
        TrainingConfig(sizes=(16, 20))
